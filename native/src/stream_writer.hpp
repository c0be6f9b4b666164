// The producing end of a stream: fills blocks and publishes steps.
//
//   StreamWriter ─ begin → put/empty … → end | abandon ─ begin → … ─ close
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lifeline.hpp"
#include "memory.hpp"
#include "ring.hpp"
#include "safetensors.hpp"

namespace dovetail {

struct StreamCounters {
  std::uint64_t steps = 0, bytes = 0, dropped = 0, redelivered = 0;
  std::int64_t ns_waited = 0;
};

// A block of a ring, mapped for as long as this writer may fill it again or a view of it lives.
struct Mapping {
  Mapping(std::uint8_t* bytes, std::size_t size) : bytes(bytes), size(size) {}
  ~Mapping() { unmap(bytes, size); }
  Mapping(const Mapping&) = delete;
  Mapping& operator=(const Mapping&) = delete;
  std::uint8_t* const bytes;
  const std::size_t size;
};

class StreamWriter {
 public:
  struct Options {
    std::string path, label;
    Policy policy;
    std::uint64_t capacity = 0;
    std::uint32_t rank = 0, size = 1;
    double timeout = 60;
  };
  // Rank 0 makes the epoch; the others find it.
  StreamWriter(Options options, const Interrupt& interrupt);
  ~StreamWriter();

  std::uint64_t epoch() { return ring_->control().epoch; }
  Policy policy() const { return ring_->policy(); }
  bool stopped();

  // Begins the next step; waits while the policy holds the producer back.
  std::uint64_t begin(const Interrupt& interrupt);
  // Copies an array into the step.
  void put(const Piece& piece, const Interrupt& interrupt);
  // Room for an array inside the step: the memory it lies in, and its offset there.
  std::pair<std::shared_ptr<Memory>, std::uint64_t> empty(const Piece& piece,
                                                          const Interrupt& interrupt);
  // Publishes the step. Under lockstep waits until the readers have ended it. Views of empty() that
  // are still alive keep what they show; if they may still be `written_to`, they are cut off.
  void end(const Metadata& metadata, bool written_to, const Interrupt& interrupt);
  // Gives the step up: nothing of this rank is published.
  void abandon();
  // Leaves; by failure if the work went wrong, which readers see as a lost peer.
  void close(bool failed);
  const StreamCounters& counters() const { return counters_; }

 private:
  struct RingBlock {
    Fd file;
    std::uint64_t number = 0;
    std::shared_ptr<Mapping> mapping;
    std::uint64_t step = no_step;  // published in this step
    std::weak_ptr<Memory> viewed;  // views that the caller kept
  };
  // Part of a step under construction: a block and the arrays in it.
  struct Segment {
    std::shared_ptr<RingBlock> block;
    std::shared_ptr<Memory> memory;
    std::uint64_t used = 0;
    std::vector<Entry> entries;
  };

  void require_usable();
  void require_step();
  void open_epoch();
  void join_epoch(const Interrupt& interrupt);
  bool may_admit(std::uint64_t step);
  bool slot_is_free(std::uint64_t step);
  void wait_for_rank_0(std::uint64_t step, const Interrupt& interrupt);
  void require_fellows();
  bool is_waited_for(const Group& group, std::uint64_t needed);
  enum class Wait { over, no_reader, readers_lost, stalled };
  // Waits until ready() is true or a reader has called stop(). A group that is waited for and makes
  // no progress for as long as the deadline is expelled. If nobody is waited for, and yet ready()
  // does not come true for so long, the wait ends with the reason.
  Wait wait_while(std::uint64_t needed, const Interrupt& interrupt,
                  const std::function<bool()>& ready, std::int64_t longest_sleep);
  void wait_for_readers(const char* purpose, std::uint64_t step, std::uint64_t needed,
                        const Interrupt& interrupt, const std::function<bool()>& ready);
  void build(const Metadata& metadata, bool written_to, const Interrupt& interrupt);
  std::pair<std::uint8_t*, std::uint64_t> make_room(const Piece& piece, const Interrupt& interrupt);
  Segment new_segment(std::uint64_t bytes, const Interrupt& interrupt);
  std::shared_ptr<RingBlock> acquire(std::uint64_t bytes, const Interrupt& interrupt);
  static bool is_viewed(const RingBlock& block);
  std::shared_ptr<RingBlock> reuse(std::uint64_t bytes);
  std::shared_ptr<RingBlock> create(std::uint64_t bytes);
  void retire(std::uint64_t smaller_than);
  std::string block_name(std::uint64_t number) const;
  void assemble(std::uint64_t header_room, const Interrupt& interrupt);
  void give_up(Segment& segment, bool written_to);
  void release(Segment& segment) noexcept;

  Options options_;
  std::shared_ptr<Ring> ring_;
  std::unique_ptr<Lifeline> lifeline_;
  std::uint64_t generation_;
  std::uint64_t next_step_ = 0;
  bool in_step_ = false;
  bool closed_ = false;
  std::vector<std::shared_ptr<RingBlock>> blocks_;
  std::vector<Segment> segments_;
  std::uint64_t next_block_ = 0;
  // Learned from the step before, so that the next one fits at once.
  std::uint64_t expected_bytes_ = 0;
  std::uint64_t header_room_ = 1024;
  StreamCounters counters_;
};

}  // namespace dovetail
