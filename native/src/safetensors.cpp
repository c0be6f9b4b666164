#include "safetensors.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <nlohmann/json.hpp>
#include <numeric>
#include <unordered_set>

#include "error.hpp"
#include "posix.hpp"

namespace dovetail {
namespace {

constexpr std::string_view version_key = "dovetail.version";

[[noreturn]] void corrupt(const std::string& why) { throw Error(Status::corrupt, why); }

struct Dtype {
  std::string_view name;
  unsigned bits;
};
constexpr Dtype dtypes[] = {
    {"BOOL", 8},    {"U8", 8},          {"I8", 8},   {"F8_E5M2", 8},     {"F8_E4M3", 8},
    {"F8_E8M0", 8}, {"F8_E5M2FNUZ", 8}, {"F4", 4},   {"F8_E4M3FNUZ", 8}, {"F6_E2M3", 6},
    {"F6_E3M2", 6}, {"I16", 16},        {"U16", 16}, {"F16", 16},        {"BF16", 16},
    {"I32", 32},    {"U32", 32},        {"F32", 32}, {"C64", 64},        {"F64", 64},
    {"I64", 64},    {"U64", 64},
};

// Bytes of an array; false if the number overflows or is no whole number of bytes.
bool byte_count(const std::vector<std::uint64_t>& shape, unsigned bits, std::uint64_t& bytes) {
  std::uint64_t count = bits;
  for (const auto extent : shape) {
    if (__builtin_mul_overflow(count, extent, &count)) return false;
  }
  bytes = count / 8;
  return count % 8 == 0;
}

// Reads the few shapes of JSON that the header may have, straight from the parser's events.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit HeaderReader(Header& header) : header_(header) {}
  std::string problem;

  bool start_object(std::size_t) override {
    switch (++depth_) {
      case 1:
        return true;
      case 2:
        if (in_array_) return fail("an object inside an array");
        if (!in_metadata_) seen_ = 0;
        return true;
      default:
        return fail("objects nested too deeply");
    }
  }
  bool end_object() override {
    if (depth_-- == 2 && !in_metadata_) {
      if (seen_ != (has_dtype | has_shape | has_offsets)) {
        return fail("an array needs dtype, shape and data_offsets");
      }
    }
    in_metadata_ = in_metadata_ && depth_ == 2;
    return true;
  }
  bool key(string_t& name) override {
    if (depth_ == 1) {
      if (!names_.insert(name).second) return fail("two arrays of the same name");
      in_metadata_ = name == "__metadata__";
      if (!in_metadata_) {
        header_.entries.emplace_back();
        header_.entries.back().name = std::move(name);
      }
      return true;
    }
    if (in_metadata_) {
      if (!metadata_names_.insert(name).second) return fail("metadata given twice");
      metadata_name_ = std::move(name);
      return true;
    }
    field_ = name == "dtype"          ? has_dtype
             : name == "shape"        ? has_shape
             : name == "data_offsets" ? has_offsets
                                      : 0;
    if (field_ == 0) return fail("an unknown field of an array");
    if ((seen_ & field_) != 0) return fail("a field given twice");
    seen_ |= field_;
    numbers_.clear();
    return true;
  }
  bool string(string_t& text) override {
    if (depth_ != 2 || in_array_) return fail("text where none belongs");
    if (in_metadata_) {
      if (metadata_name_ == version_key) {
        header_.version = std::move(text);
      } else {
        header_.metadata.emplace_back(std::move(metadata_name_), std::move(text));
      }
      return true;
    }
    if (field_ != has_dtype) return fail("text where none belongs");
    header_.entries.back().dtype = std::move(text);
    return true;
  }
  bool start_array(std::size_t) override {
    if (depth_ != 2 || in_metadata_ || in_array_ || (field_ & (has_shape | has_offsets)) == 0) {
      return fail("a list where none belongs");
    }
    in_array_ = true;
    return true;
  }
  bool end_array() override {
    in_array_ = false;
    auto& entry = header_.entries.back();
    if (field_ == has_shape) {
      entry.shape = numbers_;
      return true;
    }
    if (numbers_.size() != 2 || numbers_[1] < numbers_[0]) {
      return fail("data_offsets that are not a beginning and an end");
    }
    entry.offset = numbers_[0];
    entry.nbytes = numbers_[1] - numbers_[0];
    return true;
  }
  bool number_unsigned(number_unsigned_t number) override {
    if (!in_array_) return fail("a number where none belongs");
    numbers_.push_back(number);
    return true;
  }
  bool number_integer(number_integer_t) override { return fail("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return fail("a fraction"); }
  bool null() override { return fail("a null"); }
  bool boolean(bool) override { return fail("a truth value"); }
  bool binary(binary_t&) override { return fail("binary data"); }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::json::exception&) override {
    return fail("no JSON at byte " + std::to_string(length_bytes + position));
  }

 private:
  static constexpr unsigned has_dtype = 1, has_shape = 2, has_offsets = 4;

  bool fail(const std::string& why) {
    if (problem.empty()) problem = why;
    return false;
  }

  Header& header_;
  int depth_ = 0;
  bool in_metadata_ = false, in_array_ = false;
  unsigned seen_ = 0, field_ = 0;
  std::string metadata_name_;
  std::vector<std::uint64_t> numbers_;
  std::unordered_set<std::string> names_, metadata_names_;
};

// Orders the arrays as they lie, and checks that they fill the value without hole or overlap.
void check_extents(Header& header, std::uint64_t size) {
  auto& entries = header.entries;
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return a.offset != b.offset ? a.offset < b.offset : a.nbytes < b.nbytes;
  });
  std::uint64_t end = 0;
  for (auto& entry : entries) {
    const auto bits = element_bits(entry.dtype);
    if (bits == 0)
      corrupt("the array '" + entry.name + "' has the unknown dtype '" + entry.dtype + "'");
    std::uint64_t bytes = 0;
    if (!byte_count(entry.shape, bits, bytes) || bytes != entry.nbytes) {
      corrupt("the array '" + entry.name + "' does not have the size of its shape and dtype");
    }
    if (entry.offset != end || __builtin_add_overflow(end, entry.nbytes, &end)) {
      corrupt("there is a hole or an overlap before the array '" + entry.name + "'");
    }
    entry.offset += header.data_start;
  }
  if (size - header.data_start != end) {
    corrupt("it is " + std::to_string(size) + " bytes long, but its header describes " +
            std::to_string(header.data_start + end));
  }
}

void append_quoted(std::string& json, std::string_view text) {
  json += '"';
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      json += '\\';
      json += c;
    } else if (code < 0x20) {
      char escape[7];
      std::snprintf(escape, sizeof escape, "\\u%04x", code);
      json += escape;
    } else {
      json += c;
    }
  }
  json += '"';
}

void append_metadata(std::string& json, const Metadata& metadata) {
  json.append(header_opening).append(version_digits, '0') += '"';
  for (const auto& [key, text] : metadata) {
    json += ',';
    append_quoted(json, key);
    json += ':';
    append_quoted(json, text);
  }
  json += '}';
}

void append_entry(std::string& json, std::string_view name, std::string_view dtype,
                  const std::vector<std::uint64_t>& shape, std::uint64_t begin, std::uint64_t end) {
  json += ',';
  append_quoted(json, name);
  json.append(R"(:{"dtype":")").append(dtype).append(R"(","shape":[)");
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i != 0) json += ',';
    json += std::to_string(shape[i]);
  }
  json.append(R"(],"data_offsets":[)").append(std::to_string(begin)) += ',';
  json.append(std::to_string(end)).append("]}");
}

void set_length(std::string& header) {
  const std::uint64_t length = header.size() - length_bytes;
  if (length > largest_header) {
    throw Error(Status::unsupported, "the header of the value would take " +
                                         readable_bytes(length) +
                                         "; the format allows 100 MB. Keep bulky attrs as arrays");
  }
  for (std::size_t i = 0; i < length_bytes; ++i) {
    header[i] = static_cast<char>(length >> (8 * i));
  }
}

}  // namespace

unsigned element_bits(std::string_view dtype) {
  for (const auto& known : dtypes) {
    if (known.name == dtype) return known.bits;
  }
  return 0;
}

std::uint64_t header_end(const std::uint8_t* prefix, std::uint64_t size) {
  if (size < length_bytes) {
    corrupt("it is " + std::to_string(size) + " bytes long; the shortest value has 10");
  }
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < length_bytes; ++i) {
    length |= static_cast<std::uint64_t>(prefix[i]) << (8 * i);
  }
  if (length > largest_header) corrupt("it does not begin with the length of a header");
  if (length < 2 || length > size - length_bytes) {
    corrupt("its header of " + std::to_string(length) + " bytes does not fit into its " +
            std::to_string(size) + " bytes");
  }
  return length_bytes + length;
}

Header parse_header(const std::uint8_t* bytes, std::uint64_t size) {
  Header header;
  header.data_start = header_end(bytes, size);
  const auto* begin = reinterpret_cast<const char*>(bytes) + length_bytes;
  const auto length = header.data_start - length_bytes;
  // The parser takes NUL for the end, and skips a byte order mark; the format knows neither.
  if (*begin != '{') corrupt("its header does not begin with '{'");
  if (std::memchr(begin, 0, length) != nullptr) corrupt("its header holds NUL");
  HeaderReader reader(header);
  if (!nlohmann::json::sax_parse(begin, begin + length, &reader)) {
    corrupt("its header holds " + reader.problem);
  }
  check_extents(header, size);
  return header;
}

std::uint64_t bytes_of(const Piece& piece) {
  std::uint64_t bytes = 0;
  const auto bits = element_bits(piece.dtype);
  if (bits == 0 || !byte_count(piece.shape, bits, bytes)) {
    throw Error(Status::unsupported,
                "the array '" + std::string(piece.name) + "' is too large, or of an unknown dtype");
  }
  return bytes;
}

Layout lay_out(const std::vector<Piece>& pieces, const Metadata& metadata) {
  std::vector<std::size_t> order(pieces.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return element_bits(pieces[a].dtype) > element_bits(pieces[b].dtype);
  });
  Layout layout;
  layout.offsets.resize(pieces.size());
  auto& header = layout.header;
  header.assign(length_bytes, '\0');
  append_metadata(header, metadata);
  std::uint64_t end = 0;
  for (const auto index : order) {
    const auto& piece = pieces[index];
    layout.offsets[index] = end;
    append_entry(header, piece.name, piece.dtype, piece.shape, end, end + piece.nbytes);
    end += piece.nbytes;
  }
  header += '}';
  header.resize((header.size() + data_alignment - 1) / data_alignment * data_alignment, ' ');
  set_length(header);
  for (auto& offset : layout.offsets) offset += header.size();
  layout.total = header.size() + end;
  return layout;
}

std::string header_for(const std::vector<Entry>& entries, const Metadata& metadata,
                       std::uint64_t data_start) {
  std::string header(length_bytes, '\0');
  append_metadata(header, metadata);
  for (const auto& entry : entries) {
    append_entry(header, entry.name, entry.dtype, entry.shape, entry.offset - data_start,
                 entry.offset - data_start + entry.nbytes);
  }
  header += '}';
  if (header.size() > data_start) return {};
  header.resize(data_start, ' ');
  set_length(header);
  return header;
}

namespace {

void write_digits(std::uint64_t number, char* last) {
  for (; number != 0; --last, number >>= 4) *last = "0123456789abcdef"[number & 0xF];
}

}  // namespace

std::string version_text(std::uint64_t number, std::uint64_t inode) {
  std::string text(version_digits, '0');
  write_digits(number, &text[version_digits / 2 - 1]);
  write_digits(inode, &text[version_digits - 1]);
  return text;
}

void stamp_version(std::uint8_t* value, const std::string& version) {
  std::memcpy(value + version_at, version.data(), version_digits);
}

bool is_version_of(const std::string& version, std::uint64_t inode) {
  return version.size() == version_digits &&
         version.compare(version_digits / 2, version_digits / 2, version_text(0, inode),
                         version_digits / 2, version_digits / 2) == 0;
}

std::uint64_t number_in_version(const std::string& version) {
  return std::strtoull(version.substr(0, version_digits / 2).c_str(), nullptr, 16);
}

}  // namespace dovetail
