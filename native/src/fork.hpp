// What a forked child must know: which of its parent's descriptors it must not keep alive.
#pragma once

#include <cstdint>
#include <mutex>

namespace dovetail {

// Counts the forks between the first process and this one. A handle made at another count belongs
// to an ancestor.
std::uint64_t fork_generation();

// A registered descriptor is closed in every forked child, at once. `forks` keeps a fork from
// happening between the making of the descriptor and its registration.
std::unique_lock<std::mutex> hold_forks();
void close_in_children(int fd, const std::unique_lock<std::mutex>& forks);
void forget_in_children(int fd);

// Taken for what is done once a handle. No fork happens meanwhile, so that no child inherits it
// locked.
std::unique_lock<std::mutex> hold_setup();

}  // namespace dovetail
