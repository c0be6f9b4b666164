// The consuming end of a stream: takes steps, holds leases on their blocks.
//
//   StreamReader ─ next → next → … → nothing (end of stream) | Error          ─ close
//                    └ ends the step before ┘
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "header_cache.hpp"
#include "lifeline.hpp"
#include "ring.hpp"
#include "safetensors.hpp"
#include "stream_writer.hpp"

namespace dovetail {

// What one writer rank put into a step.
struct BlockView {
  std::shared_ptr<Memory> memory;
  std::shared_ptr<const Header> header;
};

struct Step {
  std::uint64_t index = 0;
  std::int64_t time_ns = 0;       // when the last rank ended it
  std::vector<BlockView> blocks;  // by writer rank
};

// Opens the blocks of a step, mapping each file once.
class BlockReader {
 public:
  // Nothing if a block is not what the step left there any more.
  std::optional<Step> open(Ring& ring, std::uint64_t step);

 private:
  void forget_retired(Ring& ring);

  std::unordered_map<std::string, std::shared_ptr<Mapping>> mappings_;
  HeaderCache headers_;
  std::uint64_t retired_ = 0;
};

class StreamReader {
 public:
  struct Options {
    std::string path, label;
    std::uint32_t rank = 0, size = 1;
    std::string group;              // a name; may be empty for a group of one
    std::int64_t known_group = -1;  // the entry that rank 0 made, if it told the others
    double timeout = 60;
  };
  StreamReader(Options options, const Interrupt& interrupt);
  ~StreamReader();

  std::uint64_t epoch() { return ring_->control().epoch; }
  Policy policy() const { return ring_->policy(); }
  // For the other ranks of this group.
  std::uint32_t group_entry() const { return entry_; }

  // Ends the step before, and takes the next; nothing at the end of the stream.
  std::optional<Step> next(double timeout, const Interrupt& interrupt);
  void end();
  // Leaves, and tells the producer that no more is wanted.
  void stop();
  void close(bool failed);
  const StreamCounters& counters() const { return counters_; }

 private:
  bool try_join();
  bool lead_group();
  bool follow_group();
  void take_entry(std::uint32_t index);
  void require_usable();
  void check_membership();
  // The step of this rank's next delivery, if it is known.
  std::optional<std::uint64_t> find_pick();
  std::optional<std::uint64_t> choose_step();
  void announce_pick(std::uint64_t step);
  bool has_next_step();
  // latest: the first step that was not delivered.
  std::uint64_t next_step() const { return last_step_ == no_step ? first_step_ : last_step_ + 1; }
  bool at_end();
  [[noreturn]] void throw_lost(RingState state);

  Options options_;
  std::shared_ptr<Ring> ring_;
  std::unique_ptr<Lifeline> lifeline_;
  std::uint64_t generation_;
  std::uint32_t entry_ = 0;
  Group* group_ = nullptr;
  ReaderRank* self_ = nullptr;
  BlockReader blocks_;
  std::uint64_t taken_ = 0;       // deliveries so far
  std::uint64_t first_step_ = 0;  // latest: where it began
  std::uint64_t last_step_ = no_step;
  std::int64_t checked_ = 0;  // when it last looked who is alive
  bool in_step_ = false;
  bool closed_ = false;
  bool finished_ = false;
  StreamCounters counters_;
};

// Follows the newest steps from outside; nobody notices.
class StreamTail {
 public:
  StreamTail(std::string path, std::string label)
      : path_(std::move(path)), label_(std::move(label)) {}
  std::optional<Step> next(double timeout, const Interrupt& interrupt);

 private:
  std::string path_, label_;
  std::shared_ptr<Ring> ring_;
  BlockReader blocks_;
  std::uint64_t seen_ = 0;
};

}  // namespace dovetail
