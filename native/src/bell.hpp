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

// Before it sleeps, a waiter looks on for this long: the other side is often about to ring, and
// waking costs both sides more than that. Not where this process has a single core.
constexpr std::int64_t longest_look_ns = 30'000;
bool has_several_cores();
inline void relax() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Blocks until ready() is true or the deadline passes; returns ready()'s last answer.
template <class Ready>
bool wait_on(Bell& bell, const Deadline& deadline, const Interrupt& interrupt, Ready ready,
             std::int64_t longest = longest_sleep_ns) {
  auto seen = bell.rung.load();
  if (ready()) return true;
  if (has_several_cores()) {
    const auto until = monotonic_ns() + longest_look_ns;
    for (auto now = monotonic_ns(); now < until && deadline.remaining_ns() > 0;) {
      for (int i = 0; i < 32; ++i) relax();
      now = monotonic_ns();
      const auto rung = bell.rung.load();
      if (rung == seen) continue;
      seen = rung;
      if (ready()) return true;
    }
  }
  struct Waiting {
    explicit Waiting(Bell& bell) : bell(bell) { bell.waiters.fetch_add(1); }
    ~Waiting() { bell.waiters.fetch_sub(1); }
    Bell& bell;
  } const waiting(bell);
  for (;;) {
    seen = bell.rung.load();
    if (ready()) return true;
    const auto left = deadline.remaining_ns();
    if (left == 0) return false;
    bell.sleep(seen, left < longest ? left : longest);
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
