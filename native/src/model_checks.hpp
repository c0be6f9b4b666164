// Whether the arrays of a call are what a model takes and gives.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "callable_model.hpp"

namespace dovetail {

std::uint64_t elements_of(const ModelArray& array);
inline std::uint64_t bytes_of(const ModelArray& array) {
  return elements_of(array) * static_cast<std::uint64_t>(model_item_bytes(array.dtype));
}
// "float32 (100, 8)"
std::string text_of(const ModelArray& array);
// Whether all of a dense array on the host is; what is no floating-point number is.
bool is_finite(const ModelArray& array);

// The weights in the order of the specification. Throws Error(Status::argument) if one is missing,
// unknown, or of another shape or dtype.
std::vector<const ModelArray*> checked_weights(const NamedWeights& weights, const ModelSpec& spec);

// Throws Error(Status::argument) if an output does not fit the array that is given for it.
void check_room(const ModelArray& given, const ModelArray& result, const std::string& name);

class CallChecks {
 public:
  // The specification lives longer than this.
  explicit CallChecks(const ModelSpec& spec) : spec_(spec), bound_(spec.names.size(), -1) {}

  // Throws Error(Status::argument), naming the array. From then on the names of extents stand for
  // what they are in these inputs.
  void take_inputs(const ModelArray* inputs, std::size_t count);
  // The same, as far as it is known before the call.
  void check_outputs(const ModelArray* outputs, std::size_t count) const;
  // -1 where it is known only after the call.
  std::int64_t extent(const ModelExtent& extent) const;

 private:
  const ModelSpec& spec_;
  std::vector<std::int64_t> bound_;
};

}  // namespace dovetail
