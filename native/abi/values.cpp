// Reading from stores: values in hand.
#include "calls.hpp"
#include "stores.hpp"

using namespace dovetail;
using namespace dovetail::abi;

namespace dovetail::abi {

ValueInHand::ValueInHand(Value taken)
    : value(std::move(taken)), variables(variables_of(*value.header)) {}

const Variable& ValueInHand::find(const char* name) const {
  if (name != nullptr) return variable_named(variables, name);
  if (variables.size() == 1) return variables.front();
  throw Error(Status::unsupported, "this value holds " + std::to_string(variables.size()) +
                                       " arrays, not one: choose by name");
}

const std::string& ValueInHand::attrs() {
  std::call_once(attrs_read_, [&] { attrs_ = attributes_in(value.header->metadata); });
  return attrs_;
}

std::uint64_t ValueInHand::data_bytes() const {
  std::uint64_t bytes = 0;
  for (const auto& variable : variables) bytes += variable.nbytes;
  return bytes;
}

}  // namespace dovetail::abi

namespace {

void check_alike(const Variable& variable, const GivenArray& into) {
  if (variable.dtype != into.dtype) {
    throw Error(Status::unsupported, "'" + variable.name + "' is of " + name_of(variable.dtype) +
                                         "; what is to take it is of " + name_of(into.dtype));
  }
  if (variable.shape != into.shape) {
    throw Error(Status::unsupported, "'" + variable.name + "' has shape " +
                                         text_of(variable.shape) + "; what is to take it has " +
                                         text_of(into.shape));
  }
}

}  // namespace

int dvt_store_get(dvt_store* store, const char* key, dvt_value** value) {
  return guarded([&] {
    auto& handle = result(value, "value");
    const auto view = object_of<StoreView>(store);
    const auto name = view->prefix + key_in(key);
    Traced traced;
    auto taken = std::make_shared<ValueInHand>(view->core().get(name));
    traced.record(Traced::get, name, taken->data_bytes());
    handle = handle_of(std::move(taken));
  });
}

int dvt_store_wait(dvt_store* store, const char* key, double timeout, const char* newer_than,
                   dvt_value** value) {
  return guarded([&] {
    auto& handle = result(value, "value");
    const auto view = object_of<StoreView>(store);
    const auto name = view->prefix + key_in(key);
    std::optional<std::string> seen;
    if (newer_than != nullptr) seen = newer_than;
    Traced traced;
    auto taken = std::make_shared<ValueInHand>(
        view->core().wait(name, deadline_in(timeout), seen, uninterrupted));
    traced.record(Traced::wait, name, taken->data_bytes(), traced.elapsed_ns());
    handle = handle_of(std::move(taken));
  });
}

int dvt_store_stat(dvt_store* store, const char* key, dvt_value** value) {
  return guarded([&] {
    auto& handle = result(value, "value");
    const auto view = object_of<StoreView>(store);
    auto found = view->core().stat(view->prefix + key_in(key));
    found.memory = nullptr;
    handle = handle_of(std::make_shared<ValueInHand>(std::move(found)));
  });
}

int dvt_value_count(dvt_value* value, int* count) {
  return guarded([&] {
    auto& place = result(count, "count");
    place = static_cast<int>(object_of<ValueInHand>(value)->variables.size());
  });
}

int dvt_value_array(dvt_value* value, int index, dvt_array* array) {
  return guarded([&] {
    auto& place = result(array, "array");
    const auto taken = object_of<ValueInHand>(value);
    const auto count = taken->variables.size();
    if (index < 0 || static_cast<std::size_t>(index) >= count) {
      refuse("there is no array " + std::to_string(index) + " of " + std::to_string(count));
    }
    place = shown(taken->variables[static_cast<std::size_t>(index)], taken->data());
  });
}

int dvt_value_find(dvt_value* value, const char* name, dvt_array* array) {
  return guarded([&] {
    auto& place = result(array, "array");
    const auto taken = object_of<ValueInHand>(value);
    place = shown(taken->find(name), taken->data());
  });
}

int dvt_value_read(dvt_value* value, const dvt_array* into) {
  return guarded([&] {
    const auto& target = result(into, "into");
    const auto taken = object_of<ValueInHand>(value);
    const auto& variable = taken->find(target.name);
    const auto given = array_with_data(target);
    check_alike(variable, given);
    if (taken->data() == nullptr) refuse("what dvt_store_stat gave has no data: get the value");
    copy_elements(static_cast<std::uint8_t*>(target.data), given.strides,
                  taken->data() + variable.offset, variable.strides, variable.shape,
                  item_bytes(variable.dtype));
  });
}

int dvt_value_attrs(dvt_value* value, const char** json) {
  return guarded([&] { result(json, "json") = object_of<ValueInHand>(value)->attrs().c_str(); });
}

int dvt_value_version(dvt_value* value, const char** version) {
  return guarded(
      [&] { result(version, "version") = object_of<ValueInHand>(value)->value.version.c_str(); });
}

int dvt_value_nbytes(dvt_value* value, int64_t* nbytes) {
  return guarded([&] {
    auto& place = result(nbytes, "nbytes");
    place = static_cast<std::int64_t>(object_of<ValueInHand>(value)->value.nbytes);
  });
}

int dvt_value_time(dvt_value* value, double* seconds) {
  return guarded([&] { result(seconds, "seconds") = object_of<ValueInHand>(value)->value.time; });
}

int dvt_value_close(dvt_value* value) {
  return guarded([&] {
    if (value != nullptr) take_object<ValueInHand>(value);
  });
}
