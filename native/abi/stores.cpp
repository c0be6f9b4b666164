// Opening stores, and putting, reserving, moving and listing in them.
#include "stores.hpp"

#include <algorithm>
#include <cstring>

#include "calls.hpp"

using namespace dovetail;
using namespace dovetail::abi;

namespace dovetail::abi {

Store& StoreView::core() const {
  if (store->is_closed) {
    throw Error(Status::closed, "the store " + store->label + " is closed; open it again");
  }
  return *store->core;
}

ReservedRoom::ReservedRoom(std::shared_ptr<OpenStore> in, std::unique_ptr<Reservation> made,
                           std::vector<Variable> arrays, std::string under)
    : store(std::move(in)),
      reservation(std::move(made)),
      memory(reservation->memory()),
      variables(std::move(arrays)),
      key(std::move(under)) {
  memory->exports.fetch_add(1);
}

ReservedRoom::~ReservedRoom() { memory->exports.fetch_sub(1); }

const Variable& variable_named(const std::vector<Variable>& variables, const std::string& name) {
  std::string there;
  for (const auto& variable : variables) {
    if (variable.name == name) return variable;
    there += (there.empty() ? "" : ", ") + variable.name;
  }
  throw Error(Status::key_not_found,
              "no array '" + name + "'; there are " + (there.empty() ? "none" : there));
}

}  // namespace dovetail::abi

namespace {

constexpr double usual_timeout = 60;

void check_count(const dvt_array* arrays, int count) {
  if (count < 0) refuse("the number of arrays is " + std::to_string(count));
  if (count > 0 && arrays == nullptr) refuse("arrays is NULL");
}

GivenArray without_place(GivenArray array) {
  if (array.place) {
    refuse("'" + array.name + "': a value holds whole arrays; global_shape and start belong to " +
           "the arrays of a step");
  }
  return array;
}

void check_names(const std::vector<Piece>& pieces) {
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    for (std::size_t j = 0; j < i; ++j) {
      if (pieces[i].name == pieces[j].name) {
        throw Error(Status::unsupported,
                    "two arrays of one value are named '" + std::string(pieces[i].name) + "'");
      }
    }
  }
}

void give_version(const std::string& version, char* place) {
  if (place == nullptr) return;
  const auto bytes = std::min<std::size_t>(version.size(), DVT_VERSION_BYTES - 1);
  std::memcpy(place, version.data(), bytes);
  place[bytes] = '\0';
}

dvt_texts* texts_from(std::vector<std::string> texts) {
  auto list = std::make_shared<Texts>();
  list->texts = std::move(texts);
  return handle_of(std::move(list));
}

std::uint64_t position_in(std::int64_t number, const char* name) {
  if (number < 0)
    refuse(std::string(name) + " is " + std::to_string(number) + "; it is at least 0");
  return static_cast<std::uint64_t>(number);
}

// The variables of room that was laid out: where each piece came to lie.
std::vector<Variable> variables_in(const std::vector<GivenArray>& arrays,
                                   const Reservation& reservation) {
  std::vector<Variable> variables;
  const auto extents = reservation.extents();
  for (std::size_t i = 0; i < arrays.size(); ++i) {
    Variable variable;
    variable.name = arrays[i].name;
    variable.dtype = arrays[i].dtype;
    variable.shape = arrays[i].shape;
    variable.strides = arrays[i].strides;
    variable.offset = extents[i].first;
    variable.nbytes = extents[i].second;
    variables.push_back(std::move(variable));
  }
  return variables;
}

}  // namespace

int dvt_store_open(const char* url, dvt_store** store) {
  return dvt_store_open_within(url, usual_timeout, store);
}

int dvt_store_open_within(const char* url, double timeout, dvt_store** store) {
  return guarded([&] {
    auto& handle = result(store, "store");
    auto view = std::make_shared<StoreView>();
    view->store = open_store(text_in(url, "the URL"), deadline_in(timeout));
    handle = handle_of(std::move(view));
  });
}

int dvt_store_scope(dvt_store* store, const char* prefix, dvt_store** scope) {
  return guarded([&] {
    auto& handle = result(scope, "scope");
    auto view = std::make_shared<StoreView>(*object_of<StoreView>(store));
    view->prefix += key_in(prefix);
    view->is_scope = true;
    handle = handle_of(std::move(view));
  });
}

int dvt_store_close(dvt_store* store) {
  return guarded([&] {
    if (store == nullptr) return;
    const auto view = take_object<StoreView>(store);
    if (view->is_scope) return;
    view->store->is_closed = true;
    view->store->core->disconnect();
  });
}

int dvt_store_url(dvt_store* store, const char** url) {
  return guarded([&] { result(url, "url") = object_of<StoreView>(store)->store->url.c_str(); });
}

int dvt_store_path(dvt_store* store, const char** path) {
  return guarded([&] {
    auto& place = result(path, "path");
    const auto view = object_of<StoreView>(store);
    if (view->store->path.empty()) {
      throw Error(Status::capability, "no folder holds the values of " + view->store->label);
    }
    place = view->store->path.c_str();
  });
}

int dvt_store_put(dvt_store* store, const char* key, const dvt_array* arrays, int count,
                  const char* attrs, char* version) {
  return guarded([&] {
    const auto view = object_of<StoreView>(store);
    const auto name = key_in(key);
    check_count(arrays, count);
    Traced traced;
    Metadata metadata;
    std::vector<GivenArray> given;
    std::vector<Encoded> encoded;
    std::vector<Piece> pieces;
    given.reserve(static_cast<std::size_t>(count));
    encoded.reserve(static_cast<std::size_t>(count));
    std::uint64_t nbytes = 0;
    for (int i = 0; i < count; ++i) {
      given.push_back(without_place(array_with_data(arrays[i])));
      encoded.push_back(encode(given.back(), metadata));
      pieces.push_back(encoded.back().piece);
      nbytes += pieces.back().nbytes;
    }
    check_names(pieces);
    add_attributes(attrs, metadata);
    give_version(view->core().put(view->prefix + name, std::move(pieces), metadata), version);
    traced.record(Traced::put, view->prefix + name, nbytes);
  });
}

int dvt_store_reserve(dvt_store* store, const char* key, const dvt_array* arrays, int count,
                      const char* attrs, dvt_reservation** reservation) {
  return guarded([&] {
    auto& handle = result(reservation, "reservation");
    const auto view = object_of<StoreView>(store);
    const auto name = view->prefix + key_in(key);
    check_count(arrays, count);
    Metadata metadata;
    std::vector<GivenArray> given;
    std::vector<Piece> pieces;
    given.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) {
      auto described = arrays[i];
      described.strides = nullptr;
      given.push_back(without_place(array_in(described)));
      pieces.push_back(encode_room(given.back(), metadata));
    }
    check_names(pieces);
    add_attributes(attrs, metadata);
    auto core = view->core().reserve(name, std::move(pieces), metadata);
    auto variables = variables_in(given, *core);
    handle = handle_of(
        std::make_shared<ReservedRoom>(view->store, std::move(core), std::move(variables), name));
  });
}

int dvt_reservation_array(dvt_reservation* reservation, const char* name, dvt_array* array) {
  return guarded([&] {
    auto& place = result(array, "array");
    const auto room = object_of<ReservedRoom>(reservation);
    const auto& variable =
        variable_named(room->variables, name == nullptr ? "value" : std::string(name));
    place = shown(variable, room->memory->data());
  });
}

int dvt_reservation_commit(dvt_reservation* reservation, int written_to, char* version) {
  return guarded([&] {
    const auto room = object_of<ReservedRoom>(reservation);
    const std::lock_guard lock(room->mutex);
    Traced traced;
    give_version(room->reservation->commit(written_to != 0), version);
    std::uint64_t nbytes = 0;
    for (const auto& variable : room->variables) nbytes += variable.nbytes;
    traced.record(Traced::put, room->key, nbytes);
  });
}

int dvt_reservation_close(dvt_reservation* reservation) {
  return guarded([&] {
    if (reservation != nullptr) take_object<ReservedRoom>(reservation);
  });
}

int dvt_store_exists(dvt_store* store, const char* key, int* exists) {
  return guarded([&] {
    auto& place = result(exists, "exists");
    const auto view = object_of<StoreView>(store);
    place = view->core().exists(view->prefix + key_in(key)) ? 1 : 0;
  });
}

int dvt_store_delete(dvt_store* store, const char* key) {
  return guarded([&] {
    const auto view = object_of<StoreView>(store);
    view->core().remove(view->prefix + key_in(key));
  });
}

int dvt_store_rename(dvt_store* store, const char* key, const char* new_key) {
  return guarded([&] {
    const auto view = object_of<StoreView>(store);
    view->core().rename(view->prefix + key_in(key), view->prefix + key_in(new_key));
  });
}

int dvt_store_keys(dvt_store* store, const char* prefix, dvt_texts** keys) {
  return guarded([&] {
    auto& handle = result(keys, "keys");
    const auto view = object_of<StoreView>(store);
    auto found = view->core().keys(view->prefix + (prefix == nullptr ? "" : key_in(prefix)));
    for (auto& key : found) key.erase(0, view->prefix.size());
    handle = texts_from(std::move(found));
  });
}

int dvt_store_append(dvt_store* store, const char* list, const char* key, int64_t* position) {
  return guarded([&] {
    const auto view = object_of<StoreView>(store);
    const auto at = view->core().append(view->prefix + key_in(list), key_in(key));
    if (position != nullptr) *position = static_cast<std::int64_t>(at);
  });
}

int dvt_store_items(dvt_store* store, const char* list, int64_t start, dvt_texts** items) {
  return guarded([&] {
    auto& handle = result(items, "items");
    const auto view = object_of<StoreView>(store);
    handle =
        texts_from(view->core().items(view->prefix + key_in(list), position_in(start, "start")));
  });
}

int dvt_store_wait_items(dvt_store* store, const char* list, int64_t count, int64_t start,
                         double timeout, dvt_texts** items) {
  return guarded([&] {
    auto& handle = result(items, "items");
    const auto view = object_of<StoreView>(store);
    const auto name = view->prefix + key_in(list);
    Traced traced;
    auto found =
        view->core().wait_items(name, position_in(count, "count"), position_in(start, "start"),
                                deadline_in(timeout), uninterrupted);
    traced.record(Traced::wait, name, 0, traced.elapsed_ns());
    handle = texts_from(std::move(found));
  });
}

int dvt_store_remove_list(dvt_store* store, const char* list) {
  return guarded([&] {
    const auto view = object_of<StoreView>(store);
    view->core().remove_list(view->prefix + key_in(list));
  });
}

int64_t dvt_texts_count(dvt_texts* texts) {
  std::int64_t count = 0;
  guarded([&] { count = static_cast<std::int64_t>(object_of<Texts>(texts)->texts.size()); });
  return count;
}

const char* dvt_texts_at(dvt_texts* texts, int64_t index) {
  const char* text = nullptr;
  guarded([&] {
    const auto list = object_of<Texts>(texts);
    if (index < 0 || static_cast<std::size_t>(index) >= list->texts.size()) {
      refuse("there is no text " + std::to_string(index) + " of " +
             std::to_string(list->texts.size()));
    }
    text = list->texts[static_cast<std::size_t>(index)].c_str();
  });
  return text;
}

int dvt_texts_close(dvt_texts* texts) {
  return guarded([&] {
    if (texts != nullptr) take_object<Texts>(texts);
  });
}

int dvt_store_get_statistics(dvt_store* store, dvt_store_statistics* statistics) {
  return guarded([&] {
    auto& numbers = result(statistics, "statistics");
    const auto view = object_of<StoreView>(store);
    auto& core = view->core();
    const auto& counters = core.counters();
    const auto number = [](std::uint64_t count) { return static_cast<std::int64_t>(count); };
    const auto seconds = [](std::int64_t span) { return static_cast<double>(span) * 1e-9; };
    numbers = {number(counters.puts),       number(counters.gets),
               number(counters.bytes_put),  number(counters.bytes_got),
               seconds(counters.ns_put),    seconds(counters.ns_got),
               seconds(counters.ns_waited), number(core.blocks_recycled()),
               number(core.bytes_held()),   number(core.capacity())};
  });
}

int dvt_store_flush(dvt_store* store) {
  return guarded([&] { object_of<StoreView>(store)->store->core->flush(); });
}

int dvt_store_destroy(dvt_store* store) {
  return guarded([&] {
    const auto view = object_of<StoreView>(store);
    if (view->is_scope) {
      throw Error(Status::capability, "a scope is a view of " + view->store->label +
                                          ": delete its keys, or destroy the whole store");
    }
    view->core().destroy();
    take_object<StoreView>(store);
    view->store->is_closed = true;
  });
}
