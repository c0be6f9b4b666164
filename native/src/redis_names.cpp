#include "redis_names.hpp"

#include <array>
#include <cstdio>

#include "error.hpp"
#include "utf8.hpp"

namespace dovetail::redis {
namespace {

std::string without_wildcards(const std::string& text) {
  std::string escaped;
  for (const char c : text) {
    if (c == '*' || c == '?' || c == '[' || c == ']' || c == '\\') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

// CRC-16/XMODEM.
std::uint16_t checksum(std::string_view text) {
  std::uint16_t sum = 0;
  for (const char c : text) {
    sum = static_cast<std::uint16_t>(sum ^ static_cast<std::uint8_t>(c) << 8);
    for (int bit = 0; bit < 8; ++bit) {
      sum = static_cast<std::uint16_t>((sum & 0x8000) != 0 ? sum << 1 ^ 0x1021 : sum << 1);
    }
  }
  return sum;
}

std::optional<std::uint64_t> hexadecimal(std::string_view digits) {
  std::uint64_t number = 0;
  for (const char c : digits) {
    const int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
    if (digit < 0) return std::nullopt;
    number = number << 4 | static_cast<std::uint64_t>(digit);
  }
  return number;
}

}  // namespace

std::string Names::values_like(const std::string& prefix) const {
  return "dv:" + without_wildcards(tag_ + ":" + prefix) + "*";
}

std::vector<std::string> Names::all_but_values() const {
  std::vector<std::string> patterns;
  for (const char* kind : {"dv.chunk:", "dv.list:", "dv.receipt:"}) {
    patterns.push_back(kind + without_wildcards(tag_) + ":*");
  }
  return patterns;
}

std::optional<std::string> Names::key_of(std::string_view name) const {
  const auto begin = std::string_view("dv:").size() + tag_.size() + 1;
  if (name.size() <= begin || name.back() != '}') return std::nullopt;
  const auto key = name.substr(begin, name.size() - begin - 1);
  if (!is_utf8(key) || key.find('\0') != std::string_view::npos) return std::nullopt;
  return std::string(key);
}

int slot_of(std::string_view name) {
  const auto first = name.find('{');
  if (first != std::string_view::npos) {
    const auto last = name.find('}', first + 1);
    if (last != std::string_view::npos && last > first + 1) {
      name = name.substr(first + 1, last - first - 1);
    }
  }
  return checksum(name) % slot_count;
}

std::string Manifest::text() const {
  char numbers[33];
  std::snprintf(numbers, sizeof numbers, "%016llx%016llx", static_cast<unsigned long long>(nbytes),
                static_cast<unsigned long long>(chunk));
  return std::string(magic) + version + numbers;
}

std::optional<Manifest> Manifest::read(std::string_view string) {
  if (string.substr(0, magic.size()) != magic) return std::nullopt;
  if (string.size() == bytes) {
    const auto nbytes = hexadecimal(string.substr(40, 16));
    const auto chunk = hexadecimal(string.substr(56, 16));
    if (nbytes && chunk && *nbytes >= 1 && *chunk >= 1) {
      Manifest manifest{std::string(string.substr(8, 32)), *nbytes, *chunk};
      if (manifest.count() <= most_chunks) return manifest;
    }
  }
  throw Error(Status::corrupt, "a damaged manifest of a value in chunks");
}

}  // namespace dovetail::redis
