// Arrays as their owners hold them: element type, extents, strides; and copies between them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dovetail {

using Extents = std::vector<std::int64_t>;

constexpr std::size_t most_axes = 64;

enum class Dtype : std::int32_t {
  boolean = 1,
  int8,
  int16,
  int32,
  int64,
  uint8,
  uint16,
  uint32,
  uint64,
  float16,
  bfloat16,
  float32,
  float64,
  complex64,
  complex128,
};
bool is_dtype(int number);
const char* name_of(Dtype dtype);
std::int64_t item_bytes(Dtype dtype);
// As the format spells it. complex128 has no name there: it is F64 with a last axis of 2.
const char* code_of(Dtype dtype);
// Throws Error(Status::corrupt) for a code that no element type here has.
Dtype dtype_of(std::string_view code, std::string_view array);

enum class Order { row_major, column_major };

// The number of elements; throws Error(Status::unsupported) for a negative extent, or a product
// that no memory holds.
std::int64_t count_of(const Extents& shape, std::int64_t item, std::string_view name);
// Bytes between neighbours along each axis of a dense array.
Extents dense_strides(const Extents& shape, std::int64_t item, Order order);
// Whether the elements lie one after the other; along an axis of one element any stride will do.
bool is_dense(const Extents& shape, const Extents& strides, std::int64_t item, Order order);

// Copies elements between two arrays of one shape.
void copy_elements(std::uint8_t* to, const Extents& to_strides, const std::uint8_t* from,
                   const Extents& from_strides, const Extents& shape, std::int64_t item);

// "(3, 4)", "(3,)", "()"
std::string text_of(const Extents& extents);

}  // namespace dovetail
