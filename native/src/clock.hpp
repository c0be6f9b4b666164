// Time: deadlines on the monotonic clock, stamps on the wall clock.
#pragma once

#include <time.h>

#include <cstdint>
#include <limits>

namespace dovetail {

constexpr std::int64_t nanoseconds_per_second = 1'000'000'000;

inline std::int64_t now_on(clockid_t clock) {
  timespec t{};
  clock_gettime(clock, &t);
  return t.tv_sec * nanoseconds_per_second + t.tv_nsec;
}

inline std::int64_t monotonic_ns() { return now_on(CLOCK_MONOTONIC); }
inline std::int64_t wall_clock_ns() { return now_on(CLOCK_REALTIME); }

// A moment to give up at. A negative number of seconds means never.
class Deadline {
 public:
  explicit Deadline(double seconds) : seconds_(seconds) {
    if (seconds >= 0 && seconds < 1e9) {
      at_ = monotonic_ns() + static_cast<std::int64_t>(seconds * 1e9);
    }
  }

  std::int64_t remaining_ns() const {
    if (at_ == std::numeric_limits<std::int64_t>::max()) return at_;
    const auto left = at_ - monotonic_ns();
    return left > 0 ? left : 0;
  }
  bool passed() const { return remaining_ns() == 0; }
  double seconds() const { return seconds_; }

 private:
  double seconds_;
  std::int64_t at_ = std::numeric_limits<std::int64_t>::max();
};

}  // namespace dovetail
