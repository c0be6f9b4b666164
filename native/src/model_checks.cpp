#include "model_checks.hpp"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "error.hpp"

namespace dovetail {

std::uint64_t elements_of(const ModelArray& array) {
  std::uint64_t count = 1;
  for (std::int32_t axis = 0; axis < array.rank; ++axis) {
    count *= static_cast<std::uint64_t>(array.shape[axis]);
  }
  return count;
}

std::string text_of(const ModelArray& array) {
  return std::string(model_dtype_name(array.dtype)) + " " +
         text_of(array.shape, static_cast<std::size_t>(array.rank));
}

namespace {

template <class Number>
bool finite_numbers(const void* data, std::uint64_t count) {
  const auto* const numbers = static_cast<const Number*>(data);
  bool finite = true;
  for (std::uint64_t place = 0; place < count; ++place) {
    finite = finite && std::isfinite(numbers[place]);
  }
  return finite;
}

// 16 bits, of which these are the exponent.
bool finite_halves(const void* data, std::uint64_t count, std::uint16_t exponent) {
  const auto* const bits = static_cast<const std::uint16_t*>(data);
  bool finite = true;
  for (std::uint64_t place = 0; place < count; ++place) {
    finite = finite && (bits[place] & exponent) != exponent;
  }
  return finite;
}

}  // namespace

bool is_finite(const ModelArray& array) {
  const auto count = elements_of(array);
  const std::string_view name = model_dtype_name(array.dtype);
  if (name == "float32") return finite_numbers<float>(array.data, count);
  if (name == "float64") return finite_numbers<double>(array.data, count);
  if (name == "float16") return finite_halves(array.data, count, 0x7c00);
  if (name == "bfloat16") return finite_halves(array.data, count, 0x7f80);
  if (name == "complex64") return finite_numbers<float>(array.data, 2 * count);
  if (name == "complex128") return finite_numbers<double>(array.data, 2 * count);
  return true;
}

std::vector<const ModelArray*> checked_weights(const NamedWeights& weights, const ModelSpec& spec) {
  std::vector<const ModelArray*> in_order;
  for (const auto& known : spec.weights) {
    const auto given = std::find_if(weights.begin(), weights.end(),
                                    [&](const auto& entry) { return entry.first == known.name; });
    if (given == weights.end()) {
      throw Error(Status::argument, "the weight " + known.name + " is missing");
    }
    const auto& array = given->second;
    bool fits =
        array.dtype == known.dtype && static_cast<std::size_t>(array.rank) == known.shape.size();
    for (std::size_t axis = 0; fits && axis < known.shape.size(); ++axis) {
      fits = array.shape[axis] == known.shape[axis].number;
    }
    if (!fits) {
      throw Error(Status::argument, "the weight " + known.name + " is " + text_of(array) +
                                        " and should be " + text_of(known, spec));
    }
    in_order.push_back(&array);
  }
  for (const auto& [name, array] : weights) {
    if (std::none_of(spec.weights.begin(), spec.weights.end(),
                     [&, &name = name](const auto& known) { return known.name == name; })) {
      throw Error(Status::argument, "the weight " + name + " is unknown to the model");
    }
  }
  return in_order;
}

void check_room(const ModelArray& given, const ModelArray& result, const std::string& name) {
  if (given.rank != result.rank || given.dtype != result.dtype ||
      !std::equal(given.shape, given.shape + given.rank, result.shape)) {
    throw Error(Status::argument, "the output " + name + " is " + text_of(result) +
                                      ", and the array given for it is " + text_of(given) +
                                      ": give one of the output's shape");
  }
}

std::int64_t CallChecks::extent(const ModelExtent& extent) const {
  return extent.name >= 0 ? bound_[static_cast<std::size_t>(extent.name)] : extent.number;
}

void CallChecks::take_inputs(const ModelArray* inputs, std::size_t count) {
  const auto& wanted = spec_.inputs;
  if (count != wanted.size()) {
    std::string names;
    for (const auto& input : wanted) {
      names += (names.empty() ? "" : ", ") + input.name + ": " + text_of(input, spec_);
    }
    throw Error(Status::argument, "the model takes " + std::to_string(wanted.size()) +
                                      " inputs and was given " + std::to_string(count) +
                                      ": it takes " + names);
  }
  std::fill(bound_.begin(), bound_.end(), -1);
  for (std::size_t index = 0; index < count; ++index) {
    const auto& input = inputs[index];
    const auto& one = wanted[index];
    const auto refuse = [&](const std::string& why) {
      throw Error(Status::argument, "the input " + one.name + " is " + text_of(input) + why);
    };
    if (input.data == nullptr && elements_of(input) > 0) refuse(", and its data is NULL");
    if (!one.told) continue;
    if (input.dtype != one.dtype || static_cast<std::size_t>(input.rank) != one.shape.size()) {
      refuse(", and should be " + text_of(one, spec_));
    }
    for (std::size_t axis = 0; axis < one.shape.size(); ++axis) {
      const auto extent = input.shape[axis];
      const auto& expected = one.shape[axis];
      if (expected.number >= 0) {
        if (extent != expected.number) refuse(", and should be " + text_of(one, spec_));
      } else if (expected.name >= 0) {
        const auto& name = spec_.names[static_cast<std::size_t>(expected.name)];
        auto& bound = bound_[static_cast<std::size_t>(expected.name)];
        if (extent < name.least || extent > name.most) {
          refuse(": " + name.name + " must be at least " + std::to_string(name.least) +
                 (name.most == INT64_MAX ? "" : " and at most " + std::to_string(name.most)));
        }
        if (bound >= 0 && bound != extent) {
          refuse(": " + name.name + " is " + std::to_string(bound) + " in the inputs before it");
        }
        bound = extent;
      }
    }
  }
}

void CallChecks::check_outputs(const ModelArray* outputs, std::size_t count) const {
  const auto& expected = spec_.outputs;
  if (count != expected.size()) {
    throw Error(Status::argument, "the model gives " + std::to_string(expected.size()) +
                                      " outputs, and there is room for " + std::to_string(count));
  }
  for (std::size_t index = 0; index < count; ++index) {
    const auto& output = outputs[index];
    const auto& one = expected[index];
    bool fits = !one.told || (output.dtype == one.dtype &&
                              static_cast<std::size_t>(output.rank) == one.shape.size());
    for (std::size_t axis = 0; fits && axis < one.shape.size(); ++axis) {
      const auto& extent = one.shape[axis];
      const auto number =
          extent.name >= 0 ? bound_[static_cast<std::size_t>(extent.name)] : extent.number;
      fits = number < 0 || output.shape[axis] == number;
    }
    if (!fits || (output.data == nullptr && elements_of(output) > 0)) {
      throw Error(Status::argument, "the array for the output " + one.name + " is " +
                                        text_of(output) + ", and should be " + text_of(one, spec_) +
                                        " of the inputs given");
    }
  }
}

}  // namespace dovetail
