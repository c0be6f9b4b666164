// Whether bytes are text.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace dovetail {

// As RFC 3629 has it: no surrogates, nothing longer than it need be.
inline bool is_utf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto first = static_cast<std::uint8_t>(text[i++]);
    if (first < 0x80) continue;
    const int more = first >= 0xC2 && first < 0xE0   ? 1
                     : first >= 0xE0 && first < 0xF0 ? 2
                     : first >= 0xF0 && first < 0xF5 ? 3
                                                     : 0;
    if (more == 0 || i + static_cast<std::size_t>(more) > text.size()) return false;
    const auto second = static_cast<std::uint8_t>(text[i]);
    if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second >= 0xA0) ||
        (first == 0xF0 && second < 0x90) || (first == 0xF4 && second >= 0x90)) {
      return false;
    }
    for (int k = 0; k < more; ++k, ++i) {
      if ((static_cast<std::uint8_t>(text[i]) & 0xC0) != 0x80) return false;
    }
  }
  return true;
}

}  // namespace dovetail
