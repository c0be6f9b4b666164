#include "arrays.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>
#include <numeric>

#include "error.hpp"

namespace dovetail {
namespace {

struct Known {
  const char* name;
  const char* code;
  std::int64_t bytes;
};
constexpr Known dtypes[] = {
    {"bool", "BOOL", 1},   {"int8", "I8", 1},       {"int16", "I16", 2},
    {"int32", "I32", 4},   {"int64", "I64", 8},     {"uint8", "U8", 1},
    {"uint16", "U16", 2},  {"uint32", "U32", 4},    {"uint64", "U64", 8},
    {"float16", "F16", 2}, {"bfloat16", "BF16", 2}, {"float32", "F32", 4},
    {"float64", "F64", 8}, {"complex64", "C64", 8}, {"complex128", "F64", 16},
};

const Known& known(Dtype dtype) { return dtypes[static_cast<int>(dtype) - 1]; }

struct Axis {
  std::int64_t count, to, from;
};

// One run of elements, of a size that the compiler knows.
template <std::size_t item>
void copy_run(std::uint8_t* to, const std::uint8_t* from, const Axis& axis) {
  for (std::int64_t i = 0; i < axis.count; ++i) {
    std::memcpy(to, from, item);
    to += axis.to;
    from += axis.from;
  }
}

void copy_axis(std::uint8_t* to, const std::uint8_t* from, const Axis& axis, std::int64_t item) {
  if (axis.to == item && axis.from == item) {
    std::memcpy(to, from, static_cast<std::size_t>(axis.count * item));
    return;
  }
  switch (item) {
    case 1:
      return copy_run<1>(to, from, axis);
    case 2:
      return copy_run<2>(to, from, axis);
    case 4:
      return copy_run<4>(to, from, axis);
    case 8:
      return copy_run<8>(to, from, axis);
    default:
      return copy_run<16>(to, from, axis);
  }
}

void copy_axes(std::uint8_t* to, const std::uint8_t* from, const std::vector<Axis>& axes,
               std::size_t depth, std::int64_t item) {
  const auto& axis = axes[depth];
  if (depth + 1 == axes.size()) return copy_axis(to, from, axis, item);
  for (std::int64_t i = 0; i < axis.count; ++i) {
    copy_axes(to + i * axis.to, from + i * axis.from, axes, depth + 1, item);
  }
}

}  // namespace

bool is_dtype(int number) { return number >= 1 && number <= static_cast<int>(std::size(dtypes)); }
const char* name_of(Dtype dtype) { return known(dtype).name; }
std::int64_t item_bytes(Dtype dtype) { return known(dtype).bytes; }
const char* code_of(Dtype dtype) { return known(dtype).code; }

Dtype dtype_of(std::string_view code, std::string_view array) {
  for (std::size_t i = 0; i < std::size(dtypes); ++i) {
    if (code == dtypes[i].code) return static_cast<Dtype>(i + 1);
  }
  throw Error(Status::corrupt, "'" + std::string(array) + "' is of type " + std::string(code) +
                                   "; read are bool, int8 to int64, uint8 to uint64, float16, "
                                   "bfloat16, float32, float64, complex64 and complex128");
}

std::int64_t count_of(const Extents& shape, std::int64_t item, std::string_view name) {
  std::int64_t count = 1;
  bool is_empty = false;
  for (const auto extent : shape) {
    if (extent < 0) {
      throw Error(Status::unsupported, "'" + std::string(name) + "': the shape " + text_of(shape) +
                                           " has a negative extent");
    }
    is_empty = is_empty || extent == 0;
  }
  if (is_empty) return 0;
  for (const auto extent : shape) {
    if (__builtin_mul_overflow(count, extent, &count)) count = INT64_MAX;
  }
  std::int64_t bytes = 0;
  if (__builtin_mul_overflow(count, item, &bytes)) {
    throw Error(Status::unsupported, "'" + std::string(name) + "': no memory holds an array of " +
                                         "shape " + text_of(shape));
  }
  return count;
}

Extents dense_strides(const Extents& shape, std::int64_t item, Order order) {
  // Beside an extent of 0 the others may be of any size: what no number holds, nobody needs.
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return Extents(shape.size(), item);
  Extents strides(shape.size());
  auto step = item;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const auto axis = order == Order::column_major ? i : shape.size() - 1 - i;
    strides[axis] = step;
    step *= shape[axis];
  }
  return strides;
}

bool is_dense(const Extents& shape, const Extents& strides, std::int64_t item, Order order) {
  if (std::find(shape.begin(), shape.end(), 0) != shape.end()) return true;
  auto step = item;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const auto axis = order == Order::column_major ? i : shape.size() - 1 - i;
    if (shape[axis] == 1) continue;
    if (strides[axis] != step) return false;
    step *= shape[axis];
  }
  return true;
}

void copy_elements(std::uint8_t* to, const Extents& to_strides, const std::uint8_t* from,
                   const Extents& from_strides, const Extents& shape, std::int64_t item) {
  std::vector<Axis> axes;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (shape[i] == 0) return;
    if (shape[i] != 1) axes.push_back({shape[i], to_strides[i], from_strides[i]});
  }
  const auto reach = [](const Axis& axis) { return axis.to < 0 ? -axis.to : axis.to; };
  std::stable_sort(axes.begin(), axes.end(),
                   [&](const Axis& a, const Axis& b) { return reach(a) > reach(b); });
  // Axes that lie alike on both sides, one inside the other, are one.
  std::vector<Axis> merged;
  for (const auto& axis : axes) {
    if (!merged.empty() && merged.back().to == axis.to * axis.count &&
        merged.back().from == axis.from * axis.count) {
      merged.back() = {merged.back().count * axis.count, axis.to, axis.from};
    } else {
      merged.push_back(axis);
    }
  }
  if (merged.empty()) {
    std::memcpy(to, from, static_cast<std::size_t>(item));
    return;
  }
  copy_axes(to, from, merged, 0, item);
}

std::string text_of(const Extents& extents) {
  std::string text = "(";
  for (std::size_t i = 0; i < extents.size(); ++i) {
    if (i != 0) text += ", ";
    text += std::to_string(extents[i]);
  }
  return text + (extents.size() == 1 ? ",)" : ")");
}

}  // namespace dovetail
