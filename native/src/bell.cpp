#include "bell.hpp"

#include <linux/futex.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <climits>

namespace dovetail {
namespace {

long futex(std::atomic<std::uint32_t>& word, int operation, std::uint32_t value,
           const timespec* timeout) {
  return syscall(SYS_futex, reinterpret_cast<std::uint32_t*>(&word), operation, value, timeout,
                 nullptr, 0);
}

}  // namespace

bool has_several_cores() {
  static const bool several = [] {
    cpu_set_t cores;
    return sched_getaffinity(0, sizeof cores, &cores) == 0 && CPU_COUNT(&cores) > 1;
  }();
  return several;
}

void Bell::ring() {
  // A waiter that counted itself before this load is woken by the change of `rung` or by the wake.
  rung.fetch_add(1);
  if (waiters.load() != 0) futex(rung, FUTEX_WAKE, INT_MAX, nullptr);
}

void Bell::sleep(std::uint32_t seen, std::int64_t nanoseconds) {
  const timespec span{nanoseconds / nanoseconds_per_second, nanoseconds % nanoseconds_per_second};
  futex(rung, FUTEX_WAIT, seen, &span);
}

}  // namespace dovetail
