// What a forked child must know: which of its parent's descriptors it must not keep alive.
#pragma once

#include <cstdint>

namespace dovetail {

// Counts the forks between the first process and this one. A handle made at another count belongs
// to an ancestor.
std::uint64_t fork_generation();

// A registered descriptor is closed in every forked child, at once.
void close_in_children(int fd);
void forget_in_children(int fd);

}  // namespace dovetail
