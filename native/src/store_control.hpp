// The page that the processes of one store share.
#pragma once

#include <atomic>
#include <cstdint>

#include "bell.hpp"
#include "blocks.hpp"
#include "local_store.hpp"

namespace dovetail {

constexpr std::uint32_t store_format = 1;
constexpr char store_magic[8] = {'D', 'V', 'T', 'S', 'T', 'O', 'R', 'E'};
constexpr std::size_t bell_count = 61;

struct LocalStore::Control {
  char magic[8];
  std::uint32_t format;
  std::uint32_t reserved;
  char written_by[48];                           // the version of Dovetail that made it
  alignas(64) std::atomic<std::uint64_t> clock;  // the last version given out
  std::atomic<std::uint32_t> capacity_chosen;    // by ?capacity=
  alignas(64) Account account;
  Bell bells[bell_count];  // one for the keys of one hash
};

}  // namespace dovetail
