// Waking across processes: a futex in a mapped page.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>

#include "clock.hpp"

namespace dovetail {

// Called between slices of a wait; throws to give up (a signal arrived, say).
using Interrupt = std::function<void()>;

// A waiter sleeps for at most this long before it looks again: whoever should have rung may have
// died between the deed and the ring.
constexpr std::int64_t longest_sleep_ns = 50'000'000;

struct alignas(64) Bell {
  std::atomic<std::uint32_t> rung;
  std::atomic<std::uint32_t> waiters;

  void ring();
  // Sleeps until rung after `seen` was read, or for a slice of at most `nanoseconds`.
  void sleep(std::uint32_t seen, std::int64_t nanoseconds);
};

// Blocks until ready() is true or the deadline passes; returns ready()'s last answer.
template <class Ready>
bool wait_on(Bell& bell, const Deadline& deadline, const Interrupt& interrupt, Ready ready) {
  if (ready()) return true;
  struct Waiting {
    explicit Waiting(Bell& bell) : bell(bell) { bell.waiters.fetch_add(1); }
    ~Waiting() { bell.waiters.fetch_sub(1); }
    Bell& bell;
  } const waiting(bell);
  for (;;) {
    const auto seen = bell.rung.load();
    if (ready()) return true;
    const auto left = deadline.remaining_ns();
    if (left == 0) return false;
    bell.sleep(seen, left < longest_sleep_ns ? left : longest_sleep_ns);
    interrupt();
  }
}

// The same where no memory can be shared: looks again and again, ever less often.
template <class Ready>
bool poll_until(const Deadline& deadline, const Interrupt& interrupt, Ready ready) {
  std::int64_t pause = 500'000;
  while (!ready()) {
    const auto left = deadline.remaining_ns();
    if (left == 0) return false;
    const auto slice = left < pause ? left : pause;
    const timespec span{slice / nanoseconds_per_second, slice % nanoseconds_per_second};
    nanosleep(&span, nullptr);
    interrupt();
    if (pause < longest_sleep_ns) pause += pause / 2;
  }
  return true;
}

}  // namespace dovetail
