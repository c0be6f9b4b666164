#include "fork.hpp"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <vector>

namespace dovetail {
namespace {

std::atomic<std::uint64_t> generation{0};
// Held across fork(), in this order, so that a child never inherits one locked by another thread.
std::mutex setup_mutex;
std::mutex mutex;

std::vector<int>& descriptors() {
  static std::vector<int> list;
  return list;
}

void before_fork() {
  setup_mutex.lock();
  mutex.lock();
}
void in_parent() {
  mutex.unlock();
  setup_mutex.unlock();
}
void in_child() {
  for (const int fd : descriptors()) close(fd);
  descriptors().clear();
  generation.fetch_add(1);
  mutex.unlock();
  setup_mutex.unlock();
}

const int registered = pthread_atfork(before_fork, in_parent, in_child);

}  // namespace

std::uint64_t fork_generation() { return generation.load(std::memory_order_relaxed); }

std::unique_lock<std::mutex> hold_forks() { return std::unique_lock(mutex); }
std::unique_lock<std::mutex> hold_setup() { return std::unique_lock(setup_mutex); }

void close_in_children(int fd, const std::unique_lock<std::mutex>&) {
  (void)registered;
  descriptors().push_back(fd);
}

void forget_in_children(int fd) {
  const std::lock_guard lock(mutex);
  auto& list = descriptors();
  list.erase(std::remove(list.begin(), list.end(), fd), list.end());
}

}  // namespace dovetail
