// Opening the blocks of a step, by readers and by those who look on.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "error.hpp"
#include "stream_reader.hpp"

namespace dovetail {

void BlockReader::forget_retired(Ring& ring) {
  const auto retired = ring.control().retired.load();
  if (retired == retired_) return;
  retired_ = retired;
  for (auto it = mappings_.begin(); it != mappings_.end();) {
    const bool there = faccessat(ring.blocks_folder(), it->first.c_str(), F_OK, 0) == 0;
    it = there ? std::next(it) : mappings_.erase(it);
  }
}

std::optional<Step> BlockReader::open(Ring& ring, std::uint64_t step) {
  forget_retired(ring);
  Step opened;
  opened.index = step;
  for (std::uint32_t rank = 0; rank < ring.writer_count(); ++rank) {
    const auto& contribution = ring.contribution(step, rank);
    const auto number = contribution.block.load();
    const auto size = contribution.size.load();
    opened.time_ns = std::max(opened.time_ns, contribution.time_ns.load());
    const auto name = std::to_string(rank) + "." + std::to_string(number);
    Fd lease(openat(ring.blocks_folder(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!lease) {
      if (errno == ENOENT) return std::nullopt;
      throw_system_error("cannot open a block of", ring.label(), errno);
    }
    if (flock(lease.get(), LOCK_SH | LOCK_NB) != 0) {
      if (errno == EWOULDBLOCK) return std::nullopt;
      throw_system_error("cannot lock a block of", ring.label(), errno);
    }
    auto& mapping = mappings_[name];
    if (mapping == nullptr) {
      // Through a descriptor of its own: a mapping keeps the lock of the one it was made with.
      const Fd file(openat(ring.blocks_folder(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
      // The writer may have retired the block since: a lease on it is no reader's seat.
      if (!file && errno == ENOENT) return std::nullopt;
      struct stat status{};
      if (!file || fstat(file.get(), &status) != 0) {
        throw_system_error("cannot open a block of", ring.label(), errno);
      }
      const auto length = static_cast<std::size_t>(status.st_size);
      mapping = std::make_shared<Mapping>(map_shared_readable(file.get(), length), length);
    }
    if (size > mapping->size) return std::nullopt;
    BlockView view;
    view.memory = Memory::borrowed(mapping, mapping->bytes, size, std::move(lease));
    std::string version;
    try {
      auto header = headers_.read(mapping->bytes, size);
      view.header = std::move(header.shared);
      version = std::move(header.version);
    } catch (const Error&) {
      return std::nullopt;
    }
    // The block says which step it was filled for.
    if (version != version_text(step + 1, 0)) return std::nullopt;
    opened.blocks.push_back(std::move(view));
  }
  return opened;
}

std::optional<Step> StreamTail::next(double timeout, const Interrupt& interrupt) {
  std::optional<Step> found;
  bool ended = false;
  const auto look = [&] {
    if (ring_ == nullptr) {
      ring_ = Ring::attach(path_, label_);
      if (ring_ == nullptr) return false;
    }
    const auto complete = ring_->complete();
    if (complete > seen_) {
      found = blocks_.open(*ring_, complete - 1);
      if (found) {
        seen_ = complete;
        return true;
      }
    }
    const auto state = ring_->state();
    if (state == RingState::open || ring_->complete() > seen_) return false;
    if (state == RingState::ended) {
      ended = true;
      return true;
    }
    throw Error(Status::peer_lost, "the producer of " + label_ + " died or left by an exception");
  };
  if (!poll_until(Deadline(timeout), interrupt, look)) {
    throw Error(Status::timeout,
                "no new step of " + label_ + " within " + readable_seconds(timeout));
  }
  return ended ? std::nullopt : std::move(found);
}

}  // namespace dovetail
