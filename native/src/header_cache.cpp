#include "header_cache.hpp"

#include <algorithm>
#include <atomic>
#include <cstring>

namespace dovetail {
namespace {

constexpr std::size_t most_known = 8;
constexpr std::uint64_t largest_known = 4096;
std::atomic<std::uint64_t> last_number{0};

bool is_plain_version(const char* text) {
  return std::all_of(text, text + version_digits,
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace

std::shared_ptr<const Header> HeaderCache::find(const char* text, std::uint64_t end,
                                                std::uint64_t size) {
  // Not waited for: another thread may have held it when this process was forked.
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return nullptr;
  constexpr auto after = version_at + version_digits;
  for (const auto& known : known_) {
    if (known.size == size && known.bytes.size() == end &&
        std::memcmp(known.bytes.data(), text, length_bytes) == 0 &&
        std::memcmp(known.bytes.data() + after, text + after, end - after) == 0) {
      return known.header;
    }
  }
  return nullptr;
}

void HeaderCache::keep(const char* text, std::uint64_t end, std::uint64_t size,
                       const std::shared_ptr<Header>& header) {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock()) return;
  header->number = ++last_number;
  if (known_.size() < most_known) known_.emplace_back();
  known_[next_] = {{text, static_cast<std::size_t>(end)}, size, header};
  next_ = (next_ + 1) % most_known;
}

ReadHeader HeaderCache::read(const std::uint8_t* bytes, std::uint64_t size) {
  const auto end = header_end(bytes, size);
  const auto* const text = reinterpret_cast<const char*>(bytes);
  const bool comparable =
      end <= largest_known && end > version_at + version_digits &&
      header_opening == std::string_view(text + length_bytes, header_opening.size()) &&
      is_plain_version(text + version_at);
  if (comparable) {
    if (auto known = find(text, end, size)) {
      return {std::move(known), {text + version_at, version_digits}};
    }
  }
  auto header = std::make_shared<Header>(parse_header(bytes, size));
  auto version = std::move(header->version);
  header->version.clear();
  // In a foreign value a longer version may begin like one of ours.
  if (comparable && version.size() == version_digits) keep(text, end, size, header);
  return {std::move(header), std::move(version)};
}

}  // namespace dovetail
