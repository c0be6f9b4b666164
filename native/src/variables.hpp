// How named arrays lie in safetensors, and what goes into its string metadata: what the format has
// no place for.
//
//   dovetail.attrs         the attributes, as JSON
//   dovetail.order.NAME    F: the stored shape is the reversed logical one
//   dovetail.dtype.NAME    complex128: stored as F64 with a last axis of 2
//   dovetail.shape.NAME    shape of the global array that NAME is a block of, as JSON
//   dovetail.start.NAME    where in it the block begins, as JSON
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "arrays.hpp"
#include "safetensors.hpp"

namespace dovetail {

// Where a block lies in its global array.
struct Place {
  Extents shape, start;
};

// A named array of a stored value, as its header describes it.
struct Variable {
  std::string name;
  Dtype dtype = Dtype::float64;
  Order order = Order::row_major;
  Extents shape, strides;    // logical
  std::uint64_t offset = 0;  // from the start of the value
  std::uint64_t nbytes = 0;
  std::optional<Place> place;
};

// What a header describes, in the order in which it lies. Throws Error(Status::corrupt) if its
// metadata contradicts it.
std::vector<Variable> variables_of(const Header& header);

// An array of the caller's.
struct GivenArray {
  std::string name;
  const std::uint8_t* data = nullptr;
  Dtype dtype = Dtype::float64;
  Extents shape, strides;
  std::optional<Place> place;
};

// An array as it is to be stored. It refers to the text and the bytes of the array it was made of,
// or to a dense copy of these where they have gaps.
struct Encoded {
  Piece piece;
  std::vector<std::uint8_t> dense;
};

// Throws Error(Status::unsupported) for a name that is kept for the format or for this library, and
// Error(Status::coverage) for a block that is not inside its global array. What the format lacks is
// added to `metadata`.
Encoded encode(const GivenArray& array, Metadata& metadata);
// The same for room to be filled in place: in the order of the array's strides, which are dense.
Piece encode_room(const GivenArray& array, Metadata& metadata);

// The attributes kept in a value's metadata, as a JSON object. What others wrote there appears
// under its own names.
std::string attributes_in(const Metadata& metadata);
// Of several ranks: the lowest rank's wins.
std::string attributes_in(const std::vector<const Metadata*>& ranks);
// Throws Error(Status::unsupported) for what is no JSON object. Nothing is added for no attributes.
void add_attributes(const char* json, Metadata& metadata);

}  // namespace dovetail
