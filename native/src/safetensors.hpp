// The format of every value: an 8-byte little-endian length, a JSON header, raw bytes.
//
// What is read is checked as strictly as the stock library does, and a little more: no duplicate
// names, no unknown fields, no hole and no overlap between arrays, exactly as many bytes as the
// header says.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace dovetail {

using Metadata = std::vector<std::pair<std::string, std::string>>;

struct Entry {
  std::string name;
  std::string dtype;  // as the format spells it: "F32"
  std::vector<std::uint64_t> shape;
  std::uint64_t offset = 0;  // from the start of the value
  std::uint64_t nbytes = 0;
};

struct Header {
  std::vector<Entry> entries;  // in the order in which they lie
  Metadata metadata;           // without the version
  std::string version;         // empty in a value that is not ours
  std::uint64_t data_start = 0;
  std::uint64_t number = 0;  // in this process; 0: of a header that is not kept (HeaderCache)
};

constexpr std::size_t length_bytes = 8;
constexpr std::size_t data_alignment = 64;
constexpr std::uint64_t largest_header = 100'000'000;  // the stock reader's bound
// A header of ours begins with this, after its length, and the version token follows.
constexpr std::string_view header_opening = R"({"__metadata__":{"dovetail.version":")";
constexpr std::size_t version_at = length_bytes + header_opening.size();
constexpr std::size_t version_digits = 32;

// How many bytes the length and the header take; throws Error(Status::corrupt) if `size` bytes
// cannot be a value. `prefix` holds its first min(size, 8) bytes.
std::uint64_t header_end(const std::uint8_t* prefix, std::uint64_t size);

// Reads the header of a value of `size` bytes in all, of which the first header_end() are at
// `bytes`. Throws Error(Status::corrupt).
Header parse_header(const std::uint8_t* bytes, std::uint64_t size);

// Bits of one element; 0 for an unknown dtype.
unsigned element_bits(std::string_view dtype);

// One array to be laid out.
struct Piece {
  std::string_view name;
  std::string_view dtype;
  std::vector<std::uint64_t> shape;
  const void* data = nullptr;  // nothing: its room is filled in place
  std::uint64_t nbytes = 0;
};

// Throws Error(Status::unsupported) if the size does not follow from shape and dtype.
std::uint64_t bytes_of(const Piece& piece);

// A header ready to be written, and where each array goes.
struct Layout {
  std::string header;                  // length included, padded so that data_start is aligned
  std::vector<std::uint64_t> offsets;  // of each piece, from the start of the value
  std::uint64_t total = 0;
};

// Arrays are ordered by item size, so that each is naturally aligned. The version is left blank.
Layout lay_out(const std::vector<Piece>& pieces, const Metadata& metadata);

// The header for arrays that already lie one after the other from `data_start` on, filled up with
// blanks to that length; empty if it does not fit.
std::string header_for(const std::vector<Entry>& entries, const Metadata& metadata,
                       std::uint64_t data_start);

// A version token: a number, and the inode of the file that was written. A copy of the file has
// another inode, and is known to be somebody else's by that.
std::string version_text(std::uint64_t number, std::uint64_t inode);
// Writes a version token into a header made here.
void stamp_version(std::uint8_t* value, const std::string& version);
// Whether a token was made for this file, and the number in it.
bool is_version_of(const std::string& version, std::uint64_t inode);
std::uint64_t number_in_version(const std::string& version);

}  // namespace dovetail
