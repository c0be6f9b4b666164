// Where a writer gets the room for its steps.
#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "error.hpp"
#include "stream_writer.hpp"

namespace dovetail {
namespace {

// Natural alignment is all that arrays need; no element is larger.
std::uint64_t aligned(std::uint64_t offset, std::uint64_t alignment) {
  return (offset + alignment - 1) / alignment * alignment;
}

}  // namespace

std::string StreamWriter::block_name(std::uint64_t number) const {
  return std::to_string(options_.rank) + "." + std::to_string(number);
}

void StreamWriter::put(const Piece& piece, const Interrupt& interrupt) {
  require_step();
  if (piece.nbytes != bytes_of(piece)) {
    throw Error(Status::unsupported, "the array '" + std::string(piece.name) +
                                         "' does not have the size of its shape and dtype");
  }
  auto* const room = make_room(piece, interrupt).first;
  if (piece.nbytes != 0) std::memcpy(room, piece.data, piece.nbytes);
}

std::pair<std::shared_ptr<Memory>, std::uint64_t> StreamWriter::empty(const Piece& piece,
                                                                      const Interrupt& interrupt) {
  require_step();
  const auto offset = make_room(piece, interrupt).second;
  return {segments_.back().memory, offset};
}

std::pair<std::uint8_t*, std::uint64_t> StreamWriter::make_room(const Piece& piece,
                                                                const Interrupt& interrupt) {
  for (const auto& segment : segments_) {
    for (const auto& entry : segment.entries) {
      if (entry.name == piece.name) {
        throw Error(Status::unsupported, "'" + std::string(piece.name) +
                                             "' is already in this step: put each name once a "
                                             "rank, or give the second another name");
      }
    }
  }
  const auto bits = element_bits(piece.dtype);
  if (bits == 0) {
    throw Error(Status::unsupported, "the dtype '" + std::string(piece.dtype) + "' is unknown");
  }
  const std::uint64_t alignment = std::max(1U, bits / 8);
  const auto end_in = [&](const Segment& segment) {
    return aligned(segment.used, alignment) + piece.nbytes;
  };
  if (segments_.empty() || end_in(segments_.back()) > segments_.back().block->mapping->size) {
    if (segments_.size() == 1 && segments_.front().entries.empty()) {
      release(segments_.front());
      segments_.clear();
    }
    const auto wanted = header_room_ + piece.nbytes + alignment;
    segments_.push_back(
        new_segment(segments_.empty() ? std::max(expected_bytes_, wanted) : wanted, interrupt));
  }
  auto& segment = segments_.back();
  const auto offset = aligned(segment.used, alignment);
  if (offset != segment.used) {
    // The format knows no holes: an array of its own fills the gap.
    const auto gap = offset - segment.used;
    segment.entries.push_back({"dovetail.pad." + std::to_string(segments_.size()) + "." +
                                   std::to_string(segment.entries.size()),
                               "U8",
                               {gap},
                               segment.used,
                               gap});
    std::memset(segment.block->mapping->bytes + segment.used, 0, gap);
  }
  segment.entries.push_back(
      {std::string(piece.name), std::string(piece.dtype), piece.shape, offset, piece.nbytes});
  segment.used = offset + piece.nbytes;
  return {segment.block->mapping->bytes + offset, offset};
}

StreamWriter::Segment StreamWriter::new_segment(std::uint64_t bytes, const Interrupt& interrupt) {
  Segment segment;
  segment.block = acquire(bytes, interrupt);
  segment.used = header_room_;
  const auto& mapping = segment.block->mapping;
  segment.memory = Memory::borrowed(mapping, mapping->bytes, mapping->size, Fd());
  segment.memory->set_writable(true);
  return segment;
}

// A block of this writer that no reader needs or holds, or else a new one.
std::shared_ptr<StreamWriter::RingBlock> StreamWriter::acquire(std::uint64_t bytes,
                                                               const Interrupt& interrupt) {
  std::shared_ptr<RingBlock> block;
  const auto found = [&] {
    block = reuse(bytes);
    if (!block) block = create(bytes);
    return block != nullptr;
  };
  if (found()) return block;
  auto& account = ring_->control().account;
  std::uint64_t ours = 0;
  for (const auto& held : blocks_) ours += held->mapping->size;
  const auto allocated = account.allocated.load();
  const auto others = allocated > ours ? allocated - ours : 0;
  const bool could_do = others + bytes <= account.capacity.load() &&
                        bytes <= space_of(ring_->blocks_folder()).available + ours;
  if (!blocks_.empty() && could_do) {
    // Views in the hands of readers hold every block that could do: they may let go. Nobody rings
    // then.
    constexpr std::int64_t glance = 2'000'000;
    wait_while(next_step_, interrupt, found, glance);
    if (block) return block;
  }
  if (stopped()) {
    throw Error(Status::stopped, "a reader of " + options_.label + " called stop(): end the work");
  }
  throw Error(Status::full,
              "the stream " + options_.label + " has no room for a block of " +
                  readable_bytes(bytes) + ": " + readable_bytes(account.allocated.load()) +
                  " of its capacity of " + readable_bytes(account.capacity.load()) +
                  " are taken (" + std::to_string(blocks_.size()) +
                  " blocks of this rank, waiting for readers or held by views in their hands), and "
                  "its file system has " +
                  readable_bytes(space_of(ring_->blocks_folder()).available) +
                  " free. Let go of views, or open it with another ?capacity=",
              ENOSPC);
}

bool StreamWriter::is_viewed(const RingBlock& block) {
  const auto memory = block.viewed.lock();
  return memory != nullptr && memory->exports.load() != 0;
}

std::shared_ptr<StreamWriter::RingBlock> StreamWriter::reuse(std::uint64_t bytes) {
  for (const auto& block : blocks_) {
    if (block->mapping->size < bytes) continue;
    if (block->step != no_step && ring_->needed(block->step)) continue;
    if (is_viewed(*block)) continue;
    if (flock(block->file.get(), LOCK_EX | LOCK_NB) != 0) continue;  // a reader's view holds it
    auto taken = block;
    blocks_.erase(std::find(blocks_.begin(), blocks_.end(), taken));
    taken->step = no_step;
    return taken;
  }
  return nullptr;
}

std::shared_ptr<StreamWriter::RingBlock> StreamWriter::create(std::uint64_t bytes) {
  auto& account = ring_->control().account;
  const auto size = whole_pages(bytes);
  if (!account.charge(size)) {
    retire(bytes);
    if (!account.charge(size)) return nullptr;
  }
  auto block = std::make_shared<RingBlock>();
  block->number = next_block_;
  const auto name = block_name(block->number);
  block->file =
      Fd(openat(ring_->blocks_folder(), name.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
  if (!block->file) {
    const int error = errno;
    account.credit(size);
    if (error == ENOSPC || error == EDQUOT) return nullptr;
    if (error == ENOENT) {
      throw Error(Status::closed, "the stream " + options_.label + " was destroyed");
    }
    throw_system_error("cannot create a block of", options_.label, error);
  }
  ++next_block_;
  const int error = allocate_space(block->file.get(), size);
  if (error != 0) {
    unlinkat(ring_->blocks_folder(), name.c_str(), 0);
    account.credit(size);
    if (error == ENOSPC || error == EDQUOT) return nullptr;
    throw_system_error("cannot allocate", readable_bytes(size), error);
  }
  flock(block->file.get(), LOCK_EX | LOCK_NB);
  try {
    block->mapping = std::make_shared<Mapping>(map_shared(block->file.get(), size, true), size);
  } catch (...) {
    unlinkat(ring_->blocks_folder(), name.c_str(), 0);
    account.credit(size);
    throw;
  }
  retire(bytes);
  return block;
}

// Removes free blocks that are too small for what this writer puts by now.
void StreamWriter::retire(std::uint64_t smaller_than) {
  auto& control = ring_->control();
  const auto useless = [&](const std::shared_ptr<RingBlock>& block) {
    if (block->mapping->size >= smaller_than) return false;
    if (block->step != no_step && ring_->needed(block->step)) return false;
    if (is_viewed(*block) || flock(block->file.get(), LOCK_EX | LOCK_NB) != 0) return false;
    unlinkat(ring_->blocks_folder(), block_name(block->number).c_str(), 0);
    control.account.credit(block->mapping->size);
    control.retired.fetch_add(1);
    return true;
  };
  blocks_.erase(std::remove_if(blocks_.begin(), blocks_.end(), useless), blocks_.end());
}

// Copies the arrays of all segments into one block with enough room for the header.
void StreamWriter::assemble(std::uint64_t header_room, const Interrupt& interrupt) {
  std::uint64_t bytes = header_room;
  for (const auto& segment : segments_) bytes += segment.used + sizeof(std::uint64_t);
  header_room_ = header_room;
  auto whole = new_segment(bytes, interrupt);
  auto parts = std::move(segments_);
  segments_.clear();
  segments_.push_back(std::move(whole));
  for (auto& part : parts) {
    for (const auto& entry : part.entries) {
      if (entry.name.rfind("dovetail.pad.", 0) == 0) continue;
      const auto* const from = part.block->mapping->bytes + entry.offset;
      Piece piece{entry.name, entry.dtype, entry.shape, from, entry.nbytes};
      auto* const to = make_room(piece, interrupt).first;
      if (entry.nbytes != 0) std::memcpy(to, from, entry.nbytes);
    }
    release(part);
  }
}

// Ends the right to write to a block. Whoever still has a view of it keeps what it shows: the block
// is not filled again before. A view that may be written to gets a mapping of its own.
void StreamWriter::give_up(Segment& segment, bool written_to) {
  auto& block = *segment.block;
  segment.memory->set_writable(false);
  if (segment.memory->exports.load() != 0) {
    block.viewed = segment.memory;
    if (written_to) {
      const auto size = block.mapping->size;
      auto fresh = std::make_shared<Mapping>(map_shared(block.file.get(), size, true), size);
      make_private(block.mapping->bytes, size, block.file.get());
      block.mapping = std::move(fresh);
    }
  }
  flock(block.file.get(), LOCK_UN);
}

// Takes the block of a segment that is not published back.
void StreamWriter::release(Segment& segment) noexcept {
  segment.block->step = no_step;
  try {
    give_up(segment, true);
    blocks_.push_back(segment.block);
  } catch (const Error&) {  // without a descriptor or a mapping to spare: the block is given up
    unlinkat(ring_->blocks_folder(), block_name(segment.block->number).c_str(), 0);
    ring_->control().account.credit(segment.block->mapping->size);
    ring_->control().retired.fetch_add(1);
  }
}

}  // namespace dovetail
