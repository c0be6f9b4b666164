// Arrays in C++: a view of somebody's memory, of any number of axes.
//
//   dovetail::View<double> u(field.data(), {ny, nx});
//   u(j, i) = 1.0;
#pragma once

#include <complex>
#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>
#if defined(__has_include)
#if __has_include(<version>)
#include <version>
#endif
#endif
#if defined(__cpp_lib_span)
#include <span>
#endif
#if defined(__cpp_lib_mdspan)
#include <array>
#include <mdspan>
#endif

#include "errors.hpp"

namespace dovetail {

using Extents = std::vector<std::int64_t>;

enum class Order { row_major = DVT_ROW_MAJOR, column_major = DVT_COLUMN_MAJOR };

// The bits of numbers that C++17 has no type for.
struct float16 {
  std::uint16_t bits;
};
struct bfloat16 {
  std::uint16_t bits;
};

// The dvt_dtype of an element type; specialize it for a type of your own.
template <class T, class = void>
struct dtype_of;
template <class T>
struct dtype_of<T, std::enable_if_t<std::is_integral_v<T> && !std::is_same_v<T, bool>>> {
  static constexpr int size_class = sizeof(T) == 1   ? 0
                                    : sizeof(T) == 2 ? 1
                                    : sizeof(T) == 4 ? 2
                                                     : 3;
  static constexpr int value = (std::is_signed_v<T> ? DVT_INT8 : DVT_UINT8) + size_class;
};
// clang-format off
template <> struct dtype_of<bool> { static constexpr int value = DVT_BOOL; };
template <> struct dtype_of<float16> { static constexpr int value = DVT_FLOAT16; };
template <> struct dtype_of<bfloat16> { static constexpr int value = DVT_BFLOAT16; };
template <> struct dtype_of<float> { static constexpr int value = DVT_FLOAT32; };
template <> struct dtype_of<double> { static constexpr int value = DVT_FLOAT64; };
template <> struct dtype_of<std::complex<float>> { static constexpr int value = DVT_COMPLEX64; };
template <> struct dtype_of<std::complex<double>> { static constexpr int value = DVT_COMPLEX128; };
// clang-format on

template <class T>
class View;

namespace detail {

template <class T>
struct is_view : std::false_type {};
template <class T>
struct is_view<View<T>> : std::true_type {};

// A vector, an array, a span: it knows its data and its size.
template <class Sequence, class = void>
struct element_in {};
template <class Sequence>
struct element_in<
    Sequence, std::enable_if_t<
                  !is_view<std::decay_t<Sequence>>::value &&
                  std::is_convertible_v<decltype(std::declval<Sequence&>().size()), std::size_t>>> {
  using type = std::remove_pointer_t<decltype(std::declval<Sequence&>().data())>;
};
template <class Sequence>
using element_in_t = typename element_in<std::remove_reference_t<Sequence>>::type;

}  // namespace detail

// --8<-- [start:view]
// Elements that lie at regular distances in memory that something else owns.
template <class T>
class View {
 public:
  using element_type = T;
  static constexpr int dtype = dtype_of<std::remove_cv_t<T>>::value;

  View() = default;
  // Dense. Extents and indices are 0-based and in logical order, whatever the order in memory.
  View(T* data, Extents shape, Order order = Order::row_major)
      : data_(data), shape_(std::move(shape)), strides_(shape_.size()) {
    std::int64_t step = 1;
    for (std::size_t i = 0; i < shape_.size(); ++i) {
      const auto axis = order == Order::column_major ? i : shape_.size() - 1 - i;
      strides_[axis] = step;
      step *= shape_[axis] > 0 ? shape_[axis] : 1;
    }
  }
  // Strides count elements; they may be negative.
  View(T* data, Extents shape, Extents strides)
      : data_(data), shape_(std::move(shape)), strides_(std::move(strides)) {
    if (shape_.size() != strides_.size()) {
      throw ArgumentError(DVT_ARGUMENT, "a view needs as many strides as extents");
    }
  }
  // What can be written can be read.
  template <class U, class = std::enable_if_t<std::is_same_v<const U, T> && !std::is_const_v<U>>>
  View(const View<U>& other)  // NOLINT: as a pointer becomes one to const
      : data_(other.data()), shape_(other.shape()), strides_(other.strides()) {}
  // A vector, an array, a span: one axis.
  template <class Sequence,
            class = std::enable_if_t<std::is_convertible_v<detail::element_in_t<Sequence>*, T*>>>
  View(Sequence&& sequence)  // NOLINT
      : View(sequence.data(), {static_cast<std::int64_t>(sequence.size())}) {}

  T* data() const { return data_; }
  const Extents& shape() const { return shape_; }
  const Extents& strides() const { return strides_; }  // in elements
  std::size_t rank() const { return shape_.size(); }
  std::int64_t extent(std::size_t axis) const { return shape_.at(axis); }
  std::int64_t size() const {
    std::int64_t count = 1;
    for (const auto extent : shape_) count *= extent;
    return count;
  }

  // As many indices as there are axes.
  template <class... Index>
  T& operator()(Index... index) const {
    const std::int64_t indices[] = {static_cast<std::int64_t>(index)..., 0};
    std::int64_t offset = 0;
    for (std::size_t axis = 0; axis < sizeof...(index); ++axis) {
      offset += indices[axis] * strides_[axis];
    }
    return data_[offset];
  }

  bool is_dense(Order order = Order::row_major) const {
    std::int64_t step = 1;
    for (std::size_t i = 0; i < shape_.size(); ++i) {
      const auto axis = order == Order::column_major ? i : shape_.size() - 1 - i;
      if (shape_[axis] == 0) return true;
      if (shape_[axis] == 1) continue;
      if (strides_[axis] != step) return false;
      step *= shape_[axis];
    }
    return true;
  }

  // The elements one after the other, of a view without gaps.
  T* begin() const { return require_dense(); }
  T* end() const { return require_dense() + size(); }

#if defined(__cpp_lib_span)
  std::span<T> span() const { return {require_dense(), static_cast<std::size_t>(size())}; }
#endif
#if defined(__cpp_lib_mdspan)
  template <std::size_t Rank>
  auto mdspan() const {
    if (rank() != Rank) {
      throw ArgumentError(DVT_ARGUMENT, "the view has " + std::to_string(rank()) + " axes");
    }
    std::array<std::int64_t, Rank> shape, strides;
    for (std::size_t i = 0; i < Rank; ++i) shape[i] = shape_[i], strides[i] = strides_[i];
    using Shape = std::dextents<std::int64_t, Rank>;
    return std::mdspan<T, Shape, std::layout_stride>(
        data_, std::layout_stride::mapping<Shape>(Shape(shape), strides));
  }
  template <class Shape, class Layout>
  View(const std::mdspan<T, Shape, Layout>& other) : data_(other.data_handle()) {  // NOLINT
    for (std::size_t i = 0; i < Shape::rank(); ++i) {
      shape_.push_back(static_cast<std::int64_t>(other.extent(i)));
      strides_.push_back(static_cast<std::int64_t>(other.stride(i)));
    }
  }
#endif

 private:
  T* require_dense() const {
    if (is_dense() || is_dense(Order::column_major)) return data_;
    throw ArgumentError(DVT_ARGUMENT, "the elements of this view do not lie one after the other");
  }

  T* data_ = nullptr;
  Extents shape_, strides_;
};

// --8<-- [end:view]

template <class Sequence>
View(Sequence&& sequence) -> View<detail::element_in_t<Sequence>>;

// Where a block lies in its global array: the shape of that, and where the block begins.
struct Place {
  Extents shape, start;
};

// An array with its name, of any element type: what is put.
class Named {
 public:
  template <class T>
  Named(std::string name, const View<T>& view, Place place = {})
      : name_(std::move(name)),
        data_(const_cast<std::remove_const_t<T>*>(view.data())),
        dtype_(View<T>::dtype),
        shape_(view.shape()),
        strides_(view.strides()),
        place_(std::move(place)) {
    for (auto& stride : strides_) stride *= static_cast<std::int64_t>(sizeof(T));
    if (!place_.shape.empty() || !place_.start.empty()) check_place();
  }
  template <class Sequence, class = detail::element_in_t<Sequence>>
  Named(std::string name, Sequence&& sequence, Place place = {})
      : Named(std::move(name), View<detail::element_in_t<Sequence>>(sequence), std::move(place)) {}

  // Good for as long as this lives.
  dvt_array described() const {
    dvt_array array{};
    array.name = name_.c_str();
    array.data = data_;
    array.dtype = dtype_;
    array.rank = static_cast<std::int32_t>(shape_.size());
    array.shape = shape_.data();
    array.strides = strides_.data();
    if (!place_.shape.empty()) array.global_shape = place_.shape.data();
    if (!place_.start.empty()) array.start = place_.start.data();
    return array;
  }

 private:
  void check_place() const {
    const auto fits = [&](const Extents& extents) {
      return extents.empty() || extents.size() == shape_.size();
    };
    if (fits(place_.shape) && fits(place_.start)) return;
    throw CoverageError(DVT_COVERAGE, "'" + name_ + "' has " + std::to_string(shape_.size()) +
                                          " axes; its global shape and start must too");
  }

  std::string name_;
  void* data_;
  int dtype_;
  Extents shape_, strides_;
  Place place_;
};

namespace detail {

// A described array as a view of the element type that the caller expects.
template <class T>
View<T> view_of(const dvt_array& array) {
  if (array.dtype != View<T>::dtype) {
    throw UnsupportedDataError(DVT_UNSUPPORTED, std::string("'") + array.name + "' is of " +
                                                    dvt_dtype_name(array.dtype) + ", not of " +
                                                    dvt_dtype_name(View<T>::dtype));
  }
  Extents shape(array.shape, array.shape + array.rank);
  if (array.strides == nullptr) {
    return View<T>(static_cast<T*>(array.data), std::move(shape), static_cast<Order>(array.order));
  }
  Extents strides(array.strides, array.strides + array.rank);
  for (auto& stride : strides) stride /= static_cast<std::int64_t>(sizeof(T));
  return View<T>(static_cast<T*>(array.data), std::move(shape), std::move(strides));
}

}  // namespace detail
}  // namespace dovetail
