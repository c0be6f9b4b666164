// Feeds the header parser every prefix of sound values, and mutations of them. Whatever the bytes
// are, the parser must either refuse them as corrupt or describe arrays that lie inside them.
//
//   prefixes_and_mutations [mutations [seed]]
//
// With clang and DOVETAIL_LIBFUZZER the same check is a libFuzzer target, which mixes its own
// mutations with those here: `make fuzz` runs it.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "error.hpp"
#include "header_cache.hpp"
#include "safetensors.hpp"
#include "variables.hpp"

namespace {

using Bytes = std::vector<std::uint8_t>;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken promise: %s\n", what);
  std::abort();
}

// A header that was seen before, or one like it, must not be taken for what it is not.
void compare_with_cache(const std::uint8_t* bytes, std::size_t size,
                        const dovetail::Header& parsed) {
  static dovetail::HeaderCache cache;
  for (int turn = 0; turn < 2; ++turn) {
    const auto read = cache.read(bytes, size);
    const auto& header = *read.shared;
    require(read.version == parsed.version, "a cached header comes with the value's own version");
    require(header.metadata == parsed.metadata, "cached metadata says the same");
    require(header.data_start == parsed.data_start, "a cached header has the same length");
    require(header.entries.size() == parsed.entries.size(), "a cached header says the same");
    for (std::size_t i = 0; i < header.entries.size(); ++i) {
      const auto &a = header.entries[i], &b = parsed.entries[i];
      require(a.name == b.name && a.dtype == b.dtype && a.shape == b.shape &&
                  a.offset == b.offset && a.nbytes == b.nbytes,
              "a cached array is the same");
    }
  }
}

// What clients make of a header: arrays whose last element still lies inside the value.
void read_variables(const dovetail::Header& header, std::size_t size) {
  try {
    for (const auto& variable : dovetail::variables_of(header)) {
      require(variable.offset + variable.nbytes <= size, "a variable lies inside the value");
      require(variable.strides.size() == variable.shape.size(), "each axis has its stride");
      if (variable.nbytes == 0) continue;
      std::int64_t last = dovetail::item_bytes(variable.dtype);
      for (std::size_t i = 0; i < variable.shape.size(); ++i) {
        last += (variable.shape[i] - 1) * variable.strides[i];
      }
      require(static_cast<std::uint64_t>(last) == variable.nbytes, "strides reach all of it");
    }
    require(!dovetail::attributes_in(header.metadata).empty(), "attributes are an object");
  } catch (const dovetail::Error& error) {
    require(error.status == dovetail::Status::corrupt, "bad metadata is called corrupt");
    require(*error.what() != '\0', "the error says why");
  }
}

// True if the bytes are a value. They are copied to a block of exactly their size, so that reading
// one byte too far is seen.
bool check(const std::uint8_t* bytes, std::size_t size) {
  const std::unique_ptr<std::uint8_t[]> copy(new std::uint8_t[size]);
  if (size != 0) std::memcpy(copy.get(), bytes, size);
  dovetail::Header header;
  try {
    header = dovetail::parse_header(copy.get(), size);
  } catch (const dovetail::Error& error) {
    require(error.status == dovetail::Status::corrupt, "bad bytes are called corrupt");
    require(*error.what() != '\0', "the error says why");
    return false;
  }
  std::uint64_t end = header.data_start;
  require(end >= 10 && end <= size, "the header lies inside the value");
  for (const auto& entry : header.entries) {
    require(entry.offset == end, "arrays follow each other without hole or overlap");
    require(entry.nbytes <= size - end, "arrays lie inside the value");
    dovetail::Piece piece;
    piece.name = entry.name;
    piece.dtype = entry.dtype;
    piece.shape = entry.shape;
    require(dovetail::bytes_of(piece) == entry.nbytes, "size follows from shape and dtype");
    end += entry.nbytes;
  }
  require(end == size, "the value ends with its last array");
  compare_with_cache(copy.get(), size, header);
  read_variables(header, size);

  const auto again = dovetail::header_for(header.entries, header.metadata, header.data_start);
  if (!again.empty()) {
    Bytes rewritten(copy.get(), copy.get() + size);
    std::memcpy(rewritten.data(), again.data(), again.size());
    const auto second = dovetail::parse_header(rewritten.data(), size);
    require(second.entries.size() == header.entries.size(), "a rewritten header says the same");
    require(second.metadata == header.metadata, "rewritten metadata says the same");
    for (std::size_t i = 0; i < second.entries.size(); ++i) {
      require(second.entries[i].name == header.entries[i].name, "names survive rewriting");
      require(second.entries[i].shape == header.entries[i].shape, "shapes survive rewriting");
    }
  }
  return true;
}

Bytes laid_out(const std::vector<dovetail::Piece>& pieces, const dovetail::Metadata& metadata) {
  auto layout = dovetail::lay_out(pieces, metadata);
  Bytes value(layout.total, 0x5A);
  std::memcpy(value.data(), layout.header.data(), layout.header.size());
  dovetail::stamp_version(value.data(), std::string(dovetail::version_digits, '7'));
  return value;
}

dovetail::Piece piece(const char* name, const char* dtype, std::vector<std::uint64_t> shape) {
  dovetail::Piece made;
  made.name = name;
  made.dtype = dtype;
  made.shape = std::move(shape);
  made.nbytes = dovetail::bytes_of(made);
  return made;
}

Bytes from_json(const std::string& json, std::size_t data) {
  Bytes value(8 + json.size() + data, 0x5A);
  for (int i = 0; i < 8; ++i) value[i] = static_cast<std::uint8_t>(json.size() >> (8 * i));
  std::memcpy(value.data() + 8, json.data(), json.size());
  return value;
}

std::vector<Bytes> sound_values() {
  return {
      laid_out({}, {}),
      laid_out({piece("value", "F64", {3, 4})}, {}),
      laid_out({piece("u", "F32", {2, 3}), piece("mask", "BOOL", {5}), piece("n", "I64", {}),
                piece("none", "U8", {0, 7}), piece("half", "BF16", {3})},
               {{"dovetail.attrs", R"({"t":0.5,"who":"ü"})"}, {"dovetail.order.u", "F"}}),
      laid_out({piece("z", "F64", {4, 3, 2}), piece("b", "I16", {2, 2})},
               {{"dovetail.dtype.z", "complex128"},
                {"dovetail.order.z", "F"},
                {"dovetail.shape.b", "[4,2]"},
                {"dovetail.start.b", "[2,0]"}}),
      laid_out({piece("quote\" back\\ line\n \xf0\x9f\x8c\x80", "C64", {2})}, {{"", ""}}),
      from_json("{}", 0),
      from_json(R"({"a":{"data_offsets":[0,4],"shape":[4],"dtype":"U8"}}   )", 4),
      from_json(R"({"\u00e9":{"dtype":"F4","shape":[4],"data_offsets":[0,2]},)"
                R"("__metadata__":{"k":"v"}})",
                2),
  };
}

// What headers are made of: pieces that a mutation is likely to need.
const char* const fragments[] = {
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\u0000",
    "\\ud800",
    "-1",
    "1e9",
    "0.5",
    "null",
    "true",
    "\"F64\"",
    "\"U8\"",
    "\"dtype\"",
    "shape",
    "[0]",
    "[]",
    "{}",
    "\xff",
    "\xef\xbb\xbf",
    "\x00",
    "\"data_offsets\":[0,1]",
    "__metadata__",
    "18446744073709551615",
    "9223372036854775808",
    "[4294967296,4294967296]",
    "[[[[[[[[",
    "{\"a\":{\"a\":{\"a\":",
};

class Mutator {
 public:
  explicit Mutator(std::uint64_t seed) : random_(seed) {}

  Bytes mutate(Bytes value) {
    for (auto rounds = 1 + below(4); rounds > 0; --rounds) once(value);
    if (below(2) == 0) repair_length(value);
    return value;
  }
  std::size_t below(std::size_t bound) {
    return std::uniform_int_distribution<std::size_t>(0, bound - 1)(random_);
  }

  // Makes the length fit the header again, so that the mutation reaches the parser.
  void repair_length(Bytes& value) {
    if (value.size() < 10) return;
    std::size_t end = value.size();
    for (std::size_t i = value.size(); i-- > 8;) {
      if (value[i] == '}') {
        end = i + 1;
        break;
      }
    }
    for (std::size_t i = 0; i < 8; ++i) {
      value[i] = static_cast<std::uint8_t>((end - 8) >> (8 * i));
    }
  }

 private:
  void once(Bytes& value) {
    if (value.empty()) {
      value.push_back(static_cast<std::uint8_t>(below(256)));
      return;
    }
    const auto at = value.begin() + static_cast<std::ptrdiff_t>(below(value.size()));
    switch (below(8)) {
      case 0:
        *at ^= static_cast<std::uint8_t>(1U << below(8));
        return;
      case 1:
        *at = static_cast<std::uint8_t>(below(256));
        return;
      case 2:
        value.insert(at, static_cast<std::uint8_t>(below(256)));
        return;
      case 3:
        value.erase(at, at + static_cast<std::ptrdiff_t>(
                                 1 + below(static_cast<std::size_t>(value.end() - at))));
        return;
      case 4:
        value.resize(below(value.size() + 1));
        return;
      case 5: {  // a digit becomes another
        for (auto digit = at; digit != value.end(); ++digit) {
          if (*digit >= '0' && *digit <= '9') {
            *digit = static_cast<std::uint8_t>('0' + below(10));
            return;
          }
        }
        return;
      }
      case 6: {  // a part of it once more, somewhere else
        const auto length = below(static_cast<std::size_t>(value.end() - at)) + 1;
        const Bytes part(at, at + static_cast<std::ptrdiff_t>(length));
        value.insert(value.begin() + static_cast<std::ptrdiff_t>(below(value.size())), part.begin(),
                     part.end());
        return;
      }
      default: {
        const std::string fragment = fragments[below(sizeof fragments / sizeof *fragments)];
        value.insert(at, fragment.begin(), fragment.end());
        return;
      }
    }
  }

  std::mt19937_64 random_;
};

}  // namespace

#ifdef DOVETAIL_LIBFUZZER
extern "C" {

std::size_t LLVMFuzzerMutate(std::uint8_t* bytes, std::size_t size, std::size_t room);

int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  check(bytes, size);
  return 0;
}

// What is too short to be a value gives way to a sound one; half of the mutations know the format.
std::size_t LLVMFuzzerCustomMutator(std::uint8_t* bytes, std::size_t size, std::size_t room,
                                    unsigned int seed) {
  static const auto values = sound_values();
  Mutator mutator(seed);
  Bytes value(bytes, bytes + size);
  if (size < 10) value = values[mutator.below(values.size())];
  if (mutator.below(2) == 0) {
    value = mutator.mutate(std::move(value));
  } else {
    const auto length = value.size();
    value.resize(std::max(length, room));
    value.resize(LLVMFuzzerMutate(value.data(), std::min(length, room), room));
    if (mutator.below(2) == 0) mutator.repair_length(value);
  }
  const auto length = std::min(value.size(), room);
  if (length != 0) std::memcpy(bytes, value.data(), length);
  return length;
}

}  // extern "C"
#else
int main(int argc, char** argv) {
  const auto mutations = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 100000ULL;
  const auto seed = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 1ULL;
  const auto values = sound_values();
  std::size_t prefixes = 0;
  for (const auto& value : values) {
    require(check(value.data(), value.size()), "a sound value is read");
    for (std::size_t size = 0; size < value.size(); ++size, ++prefixes) {
      require(!check(value.data(), size), "no prefix of a value is a value");
    }
  }
  Mutator mutator(seed);
  std::uint64_t sound = 0;
  for (std::uint64_t turn = 0; turn < mutations; ++turn) {
    const auto mutated = mutator.mutate(values[mutator.below(values.size())]);
    if (check(mutated.data(), mutated.size())) ++sound;
  }
  std::printf("%zu prefixes refused; of %llu mutations %llu were still values\n", prefixes,
              mutations, static_cast<unsigned long long>(sound));
  return 0;
}
#endif
