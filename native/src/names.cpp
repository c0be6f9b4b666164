#include "names.hpp"

#include <cstdint>
#include <cstdio>

#include "error.hpp"

namespace dovetail {
namespace {

constexpr std::string_view suffix = ".safetensors";
constexpr std::size_t longest_stem = 240;  // 255 bytes less ".safetensors", with some room
constexpr std::size_t readable_part = 160;
constexpr std::size_t hash_digits = 32;
constexpr std::string_view hash_mark = "%~";

// FNV-1a of 128 bits. Two keys with one hash are told apart by the table of names.
std::string hash_of(std::string_view key) {
  __extension__ using Wide = unsigned __int128;
  const Wide prime = (static_cast<Wide>(1) << 88) + 0x13b;
  Wide hash = (static_cast<Wide>(0x6c62272e07bb0142ULL) << 64) + 0x62b821756295c58dULL;
  for (const char c : key) hash = (hash ^ static_cast<unsigned char>(c)) * prime;
  char text[hash_digits + 1];
  std::snprintf(text, sizeof text, "%016llx%016llx", static_cast<unsigned long long>(hash >> 64),
                static_cast<unsigned long long>(hash));
  return text;
}

bool continues_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

}  // namespace

std::string stem_of_key(std::string_view key) {
  if (key.empty()) return "%";
  std::string stem;
  stem.reserve(key.size() + 8);
  for (std::size_t i = 0; i < key.size(); ++i) {
    const char c = key[i];
    if (c == '\0') {
      throw Error(Status::invalid_key,
                  "a key cannot hold a NUL character: choose another character to separate parts");
    }
    if (c == '%') {
      stem += "%25";
    } else if (c == '/') {
      stem += "%2F";
    } else if (c == '.' && i == 0) {
      stem += "%2E";
    } else {
      stem += c;
    }
  }
  if (stem.size() <= longest_stem) return stem;
  auto cut = readable_part;
  while (continues_character(stem[cut])) --cut;
  // Never end in the middle of an escape.
  for (std::size_t back = 1; back <= 2; ++back) {
    if (stem[cut - back] == '%') {
      cut -= back;
      break;
    }
  }
  return stem.substr(0, cut).append(hash_mark).append(hash_of(key));
}

std::optional<std::string> key_of_stem(std::string_view stem) {
  if (stem == "%") return std::string();
  if (stem.empty() || stem.size() > longest_stem || stem.front() == '.') return std::nullopt;
  std::string key;
  for (std::size_t i = 0; i < stem.size(); ++i) {
    if (stem[i] != '%') {
      key += stem[i];
      continue;
    }
    const auto code = stem.substr(i + 1, 2);
    if (code == "25") {
      key += '%';
    } else if (code == "2F") {
      key += '/';
    } else if (code == "2E" && i == 0) {
      key += '.';
    } else {
      return std::nullopt;
    }
    i += 2;
  }
  return key;
}

std::string file_of_stem(std::string_view stem) { return std::string(stem).append(suffix); }

std::optional<std::string> stem_of_file(std::string_view name) {
  if (name.size() <= suffix.size() || name.substr(name.size() - suffix.size()) != suffix) {
    return std::nullopt;
  }
  return std::string(name.substr(0, name.size() - suffix.size()));
}

std::string shortened(std::string_view text, std::size_t most) {
  if (text.size() <= most) return std::string(text);
  return std::string(text.substr(0, most - hash_digits)).append(hash_of(text));
}

std::string hash_in_stem(std::string_view stem) {
  const auto mark = stem.rfind(hash_mark);
  if (mark == std::string_view::npos || stem.size() - mark != hash_mark.size() + hash_digits) {
    return {};
  }
  return std::string(stem.substr(mark + hash_mark.size()));
}

}  // namespace dovetail
