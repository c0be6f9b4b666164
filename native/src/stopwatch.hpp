// Adds the time that a scope takes to a counter.
#pragma once

#include <atomic>
#include <cstdint>

#include "clock.hpp"

namespace dovetail {

class Stopwatch {
 public:
  explicit Stopwatch(std::atomic<std::int64_t>& total) : total_(total), start_(monotonic_ns()) {}
  ~Stopwatch() { total_.fetch_add(monotonic_ns() - start_, std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t>& total_;
  const std::int64_t start_;
};

}  // namespace dovetail
