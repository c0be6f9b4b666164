// The control page of a stream: who takes part, which steps there are, who still needs them.
//
// Nothing in it is ever locked: every field has one writer, or is changed by compare-and-swap, so
// that a participant may be killed or stopped at any instruction. The producers decide from the
// readers' cursors what may be overwritten, and the readers announce what they take before they
// check that it is still there; both with sequential consistency, so that one of them always sees
// the other.
//
//   <stream>/current             the number of the newest epoch (one epoch a writer's session)
//   <stream>/e<N>/control        this page
//   <stream>/e<N>/blocks/<r>.<i> the blocks of writer rank r: one safetensors value each
//   <stream>/e<N>/lifelines      one locked file for each living participant
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bell.hpp"
#include "blocks.hpp"
#include "posix.hpp"

namespace dovetail {

enum class PolicyKind : std::uint32_t { lockstep, buffered, latest, work_queue };

struct Policy {
  PolicyKind kind = PolicyKind::buffered;
  std::uint32_t window = 2;
};

constexpr std::uint32_t stream_format = 1;
constexpr char stream_magic[8] = {'D', 'V', 'T', 'R', 'I', 'N', 'G', '\0'};
constexpr std::uint32_t most_groups = 32;
constexpr std::uint32_t most_group_ranks = 256;
constexpr std::uint32_t most_writer_ranks = 1024;
constexpr std::uint32_t most_picks = 8;  // how far the ranks of one group may be apart
constexpr std::uint64_t no_step = UINT64_MAX;

enum class Closing : std::uint32_t { open, cleanly, by_failure };

struct WriterRank {
  std::atomic<std::uint64_t> lifeline;  // 0: not yet here
  std::atomic<std::uint64_t> ended;     // steps that this rank has ended
  std::atomic<Closing> closing;
};

// What one writer rank contributed to one step.
struct Contribution {
  std::atomic<std::uint64_t> block;
  std::atomic<std::uint64_t> size;
  std::atomic<std::int64_t> time_ns;
};

// A place for a step: step s uses slot s % slots.
struct Slot {
  std::atomic<std::uint64_t> owner;  // work_queue: see Ring::claim
};

enum class GroupState : std::uint32_t { unused, joining, live, left, failed, expelled, lost };

struct ReaderRank {
  std::atomic<std::uint64_t> lifeline;
  std::atomic<std::uint64_t> taken;  // deliveries whose blocks this rank holds
  std::atomic<std::uint64_t> ended;  // deliveries that this rank has ended
  std::atomic<std::uint32_t> gone;   // it has left
};

enum class Outcome : std::uint32_t { none, end, lost, left };

struct Group {
  // Generation and state in one word, so that what was seen of one group never changes another
  // that has the entry by now.
  std::atomic<std::uint64_t> word;
  std::atomic<std::uint32_t> size;
  std::atomic<Outcome> outcome;  // how the group's rank 0 saw the stream end
  char name[64];
  std::atomic<std::uint64_t> start;   // the first step it gets (lockstep, buffered)
  std::atomic<std::uint64_t> picks;   // deliveries that rank 0 is choosing: the writers keep them
  std::atomic<std::uint64_t> chosen;  // those of them that its other ranks may follow
  std::atomic<std::uint64_t> pick[most_picks];
  ReaderRank ranks[most_group_ranks];

  static GroupState state_in(std::uint64_t word) { return static_cast<GroupState>(word & 0xFF); }
  static std::uint64_t generation_in(std::uint64_t word) { return word >> 8; }
  GroupState state() const { return state_in(word.load()); }
  std::uint64_t generation() const { return generation_in(word.load()); }
  // False if the group has changed since `seen` was read.
  bool change(std::uint64_t seen, GroupState to) {
    return word.compare_exchange_strong(
        seen, (seen & ~std::uint64_t{0xFF}) | static_cast<std::uint64_t>(to));
  }
  // The control page may be damaged: never more than there is room for.
  std::uint32_t ranks_in_use() const {
    const auto ranks = size.load();
    return ranks < most_group_ranks ? ranks : most_group_ranks;
  }
};

struct RingControl {
  char magic[8];
  std::uint32_t format;
  std::uint32_t reserved;
  char written_by[48];
  std::uint64_t epoch;
  PolicyKind policy;
  std::uint32_t window;
  std::uint32_t slots;
  std::uint32_t writers;
  alignas(64) Account account;
  alignas(64) std::atomic<std::uint64_t> admitted;  // steps that may be begun
  std::atomic<std::uint64_t> oldest;                // no new reader starts before this step
  std::atomic<std::uint64_t> retired;               // counts blocks that were removed
  std::atomic<std::uint32_t> stop;                  // a reader wants no more
  std::atomic<std::uint32_t> heard;                 // some reader has been here and left
  std::atomic<std::uint32_t> group_count;           // entries ever used
  Bell writer_bell;                                 // rung by readers
  Bell reader_bell;                                 // rung by writers
  Group groups[most_groups];
  // followed by WriterRank[writers], Slot[slots], Contribution[slots * writers]
};

enum class RingState { open, ended, failed, lost };

// One epoch of a stream, mapped.
class Ring {
 public:
  // Makes a new epoch in the folder `stream`, with the caller as its writer rank 0, and announces
  // it: readers find it from now on.
  static std::shared_ptr<Ring> create(const std::string& stream, const std::string& label,
                                      Policy policy, std::uint32_t writers, std::uint64_t capacity);
  // Maps the newest epoch; nothing if there is none.
  static std::shared_ptr<Ring> attach(const std::string& stream, const std::string& label);
  ~Ring();

  RingControl& control() { return *control_; }
  WriterRank& writer(std::uint32_t rank) { return writers_[rank]; }
  Slot& slot(std::uint64_t step) { return slots_[step % slot_count_]; }
  Contribution& contribution(std::uint64_t step, std::uint32_t rank) {
    return contributions_[(step % slot_count_) * writer_count_ + rank];
  }
  Group& group(std::uint32_t index) { return control_->groups[index]; }
  Policy policy() const { return policy_; }
  std::uint32_t writer_count() const { return writer_count_; }
  std::uint32_t slot_count() const { return slot_count_; }
  std::uint32_t group_count() const {
    const auto count = control_->group_count.load();
    return count < most_groups ? count : most_groups;
  }
  // Readies the slot of a step that is about to be admitted.
  void clear_slot(std::uint64_t step);
  const std::string& label() const { return label_; }
  int blocks_folder() const { return blocks_.get(); }
  int lifelines_folder() const { return lifelines_.get(); }

  // Steps that every writer rank has ended.
  std::uint64_t complete();
  // Deliveries that every rank of a group, of those still there, has ended.
  std::uint64_t ended_by(const Group& group);
  std::uint64_t taken_by(const Group& group);
  // The first step that a group has not ended (not under work_queue).
  std::uint64_t cursor_of(const Group& group) { return group.start.load() + ended_by(group); }
  bool is_live(const Group& group) { return group.state() == GroupState::live; }
  // A rank that has neither left nor died may still write to the group's entry.
  bool is_inhabited(const Group& group);
  bool has_live_group();

  // No reader has yet to end a step before this one (not under work_queue); raises `oldest`.
  std::uint64_t floor();
  // Whether some reader may still take this complete step.
  bool needed(std::uint64_t step);
  std::uint64_t steps_held();
  // Whether steps are held that somebody may still want: not after stop().
  bool holds_for_readers();

  // work_queue. A slot's owner word: step, generation and number of the group, done or not.
  bool claim(std::uint64_t step, std::uint32_t group, bool& redelivered);
  bool is_claimable(std::uint64_t step);
  bool has_claimable();
  void finish(std::uint64_t step, std::uint32_t group);
  bool is_done(std::uint64_t step);
  std::uint64_t unfinished(std::uint64_t before);
  std::uint64_t first_slotted(std::uint64_t before);

  // The lifeline that create() made for the caller.
  std::unique_ptr<Lifeline> take_lifeline() { return std::move(lifeline_); }

  // Looks at the lifelines: marks groups of which a rank has died as lost.
  void bury_dead_groups();
  // How the writers are; looks at their lifelines if they have not all said so.
  RingState state();
  // False once the epoch was removed. Whoever joins makes a lifeline first and then asks this;
  // whoever removes hides the epoch first and then looks for lifelines.
  bool is_still_there();

  // Whether writer rank 0 is there and has not closed.
  bool is_led();
  // Whether a reader can still learn something from this epoch.
  bool is_joinable();
  // Removes the epoch, and the stream with it, when nobody can need it any more.
  void remove_if_done();

 private:
  Ring() = default;
  void announce();
  void map(Fd epoch_folder);
  bool owner_is_live(std::uint64_t owner);

  std::string stream_, label_;
  Fd folder_, epoch_, blocks_, lifelines_;
  std::unique_ptr<Lifeline> lifeline_;
  std::size_t mapped_ = 0;
  RingControl* control_ = nullptr;
  // Copies, checked as the page was mapped.
  Policy policy_;
  std::uint32_t writer_count_ = 0;
  std::uint32_t slot_count_ = 0;
  WriterRank* writers_ = nullptr;
  Slot* slots_ = nullptr;
  Contribution* contributions_ = nullptr;
};

// A lifeline's name as it stands in the control page.
std::uint64_t number_of(const std::string& lifeline);
std::string lifeline_name(std::uint64_t number);

struct GroupSummary {
  std::string name;
  std::uint32_t ranks;
  GroupState state;
  std::uint64_t steps_ended;
};
struct StreamSummary {
  Policy policy;
  RingState state;
  std::uint64_t epoch, ranks, steps_complete, steps_held, bytes_held, capacity;
  std::vector<GroupSummary> groups;
};
// Seen from outside. Throws Error(Status::key_not_found) if there is no stream.
StreamSummary describe_stream(const std::string& stream, const std::string& label);
// Removes a stream with all it holds.
void destroy_stream(const std::string& stream, const std::string& label);
// Bytes that dead processes left in a stream's folder; removed if so asked. What a living process
// takes part in, and steps that wait for a reader after a clean end, are left alone.
std::uint64_t dead_epochs(const std::string& stream, bool remove);

}  // namespace dovetail
