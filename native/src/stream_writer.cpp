// The life of a writer: opening, waiting for readers, publishing, leaving.
#include "stream_writer.hpp"

#include <algorithm>
#include <cerrno>

#include "error.hpp"
#include "fork.hpp"

namespace dovetail {

StreamWriter::StreamWriter(Options options, const Interrupt& interrupt)
    : options_(std::move(options)), generation_(fork_generation()) {
  if (options_.size > most_writer_ranks) {
    throw Error(Status::capability, "a stream on this engine has at most " +
                                        std::to_string(most_writer_ranks) + " writer ranks");
  }
  options_.rank == 0 ? open_epoch() : join_epoch(interrupt);
  next_step_ = ring_->writer(options_.rank).ended.load();
}

void StreamWriter::open_epoch() {
  ring_ = Ring::create(options_.path, options_.label, options_.policy, options_.size,
                       options_.capacity);
  lifeline_ = ring_->take_lifeline();
}

void StreamWriter::join_epoch(const Interrupt& interrupt) {
  const auto joined = [&] {
    auto ring = Ring::attach(options_.path, options_.label);
    if (ring == nullptr) return false;
    if (ring->state() != RingState::open) {
      if (!ring->is_led()) return false;  // of an earlier writer
      throw Error(Status::peer_lost, "another rank of the writer of " + options_.label +
                                         " has failed before this one had opened the stream");
    }
    if (ring->writer_count() != options_.size) {
      throw Error(Status::busy, "the stream " + options_.label + " was opened for " +
                                    std::to_string(ring->writer_count()) + " writer ranks; rank " +
                                    std::to_string(options_.rank) + " says there are " +
                                    std::to_string(options_.size));
    }
    auto& rank = ring->writer(options_.rank);
    std::unique_ptr<Lifeline> lifeline;
    try {
      lifeline = std::make_unique<Lifeline>(ring->lifelines_folder());
    } catch (const Error& error) {
      if (error.system_error == ENOENT) return false;  // the epoch was removed meanwhile
      throw;
    }
    std::uint64_t vacant = 0;
    if (!rank.lifeline.compare_exchange_strong(vacant, number_of(lifeline->name()))) {
      throw Error(Status::busy, "rank " + std::to_string(options_.rank) + " of the stream " +
                                    options_.label + " is already open");
    }
    lifeline_ = std::move(lifeline);
    ring_ = std::move(ring);
    return true;
  };
  if (!poll_until(Deadline(options_.timeout), interrupt, joined)) {
    throw Error(Status::timeout, "rank 0 has not opened the stream " + options_.label +
                                     " for writing within " + readable_seconds(options_.timeout));
  }
}

StreamWriter::~StreamWriter() {
  if (generation_ != fork_generation()) {
    if (lifeline_) lifeline_->abandon();
    return;
  }
  try {
    close(true);            // whoever did not close did not end well
  } catch (const Error&) {  // what is left is seen as left by a dead writer
  }
}

void StreamWriter::require_usable() {
  if (generation_ != fork_generation()) {
    throw Error(Status::closed, "the stream " + options_.label +
                                    " was opened before this process was forked: it is its "
                                    "parent's. Open streams after the fork");
  }
  if (closed_) throw Error(Status::closed, "the stream " + options_.label + " is closed");
}

void StreamWriter::require_step() {
  require_usable();
  if (!in_step_) {
    throw Error(Status::closed,
                "this step of " + options_.label + " has ended: begin another one with step()");
  }
}

bool StreamWriter::stopped() { return ring_->control().stop.load() != 0; }

bool StreamWriter::slot_is_free(std::uint64_t step) {
  const std::uint64_t slots = ring_->slot_count();
  return step < slots || !ring_->needed(step - slots);
}

bool StreamWriter::may_admit(std::uint64_t step) {
  if (stopped() || !slot_is_free(step)) return stopped();
  const auto window = ring_->policy().window;
  switch (ring_->policy().kind) {
    case PolicyKind::latest:
      return true;
    case PolicyKind::lockstep:
    case PolicyKind::buffered:
      return step < ring_->floor() + window;
    case PolicyKind::work_queue:
      return ring_->unfinished(step) < window;
  }
  return true;
}

std::uint64_t StreamWriter::begin(const Interrupt& interrupt) {
  require_usable();
  if (in_step_) {
    throw Error(Status::closed, "the step before is not ended: end it before the next begins");
  }
  const auto step = next_step_;
  auto& control = ring_->control();
  if (options_.rank == 0) {
    const auto window = ring_->policy().window;
    const auto needed = step + 1 > window ? step + 1 - window : 0;
    wait_for_readers("begin", step, needed, interrupt, [&] { return may_admit(step); });
  } else {
    wait_for_rank_0(step, interrupt);
  }
  if (stopped()) {
    throw Error(Status::stopped, "a reader of " + options_.label +
                                     " called stop(): end the work (test `stopped` to end it "
                                     "without this error)");
  }
  if (options_.rank == 0 && control.admitted.load() <= step) {
    ring_->clear_slot(step);
    control.admitted.store(step + 1);
    if (options_.size > 1) control.writer_bell.ring();
  }
  in_step_ = true;
  return step;
}

// The other ranks follow rank 0, which is the one that waits for readers: they give it time to
// expel one that hangs.
void StreamWriter::wait_for_rank_0(std::uint64_t step, const Interrupt& interrupt) {
  auto& control = ring_->control();
  const auto started = monotonic_ns();
  const Deadline deadline(options_.timeout < 0 ? -1 : 2 * options_.timeout + 1);
  auto checked = started;
  const bool admitted = wait_on(control.writer_bell, deadline, interrupt, [&] {
    if (control.admitted.load() > step || stopped()) return true;
    const auto now = monotonic_ns();
    if (now - checked < longest_sleep_ns) return false;
    checked = now;
    require_fellows();
    return false;
  });
  counters_.ns_waited += monotonic_ns() - started;
  if (admitted) return;
  throw Error(Status::timeout, "rank 0 of the writer of " + options_.label +
                                   " did not begin step " + std::to_string(step) + " within " +
                                   readable_seconds(deadline.seconds()));
}

// Throws if another rank of this writer has gone.
void StreamWriter::require_fellows() {
  if (options_.size == 1) return;
  const bool led = ring_->writer(0).closing.load() == Closing::open;
  if (led && ring_->state() == RingState::open) return;
  throw Error(Status::peer_lost,
              "another rank of the writer of " + options_.label + " has left or died");
}

// Whether the wait is for this group. `needed` is how many steps the readers of a bounded policy
// must have ended; of these, they can end those that are complete.
bool StreamWriter::is_waited_for(const Group& group, std::uint64_t needed) {
  switch (ring_->policy().kind) {
    case PolicyKind::lockstep:
    case PolicyKind::buffered:
      return ring_->cursor_of(group) < std::min(needed, ring_->complete());
    case PolicyKind::work_queue:
      return ring_->ended_by(group) < group.picks.load() || ring_->has_claimable();
    case PolicyKind::latest:
      break;
  }
  return ring_->taken_by(group) < group.picks.load();
}

StreamWriter::Wait StreamWriter::wait_while(std::uint64_t needed, const Interrupt& interrupt,
                                            const std::function<bool()>& ready,
                                            std::int64_t longest_sleep) {
  if (ready()) return Wait::over;
  auto& control = ring_->control();
  const auto started = monotonic_ns();
  struct Progress {
    std::uint64_t position = no_step;
    std::uint64_t generation = 0;
    std::int64_t since = 0;
  };
  std::vector<Progress> progress(most_groups);
  const double patience = options_.timeout * 1e9;  // nanoseconds; negative: without end
  const auto is_too_long = [&](std::int64_t span) {
    return patience >= 0 && static_cast<double>(span) >= patience;
  };
  auto checked = started - longest_sleep_ns;
  auto stalled_since = started;  // nobody is waited for, and yet it does not go on
  auto complete = ring_->complete();
  bool lost_reader = false;
  auto outcome = Wait::over;

  const auto look = [&] {
    if (ready() || stopped()) return true;
    const auto now = monotonic_ns();
    if (now - checked < longest_sleep_ns / 2) return false;
    checked = now;
    require_fellows();
    ring_->bury_dead_groups();
    bool alone = true, waited_for = false;
    for (std::uint32_t index = 0; index < ring_->group_count(); ++index) {
      auto& group = control.groups[index];
      const auto word = group.word.load();
      const auto state = Group::state_in(word);
      lost_reader = lost_reader || state == GroupState::lost || state == GroupState::failed;
      if (state != GroupState::live) continue;
      alone = false;
      auto& seen = progress[index];
      const Progress now_at{ring_->ended_by(group) + ring_->taken_by(group),
                            Group::generation_in(word), now};
      const bool moved = now_at.position != seen.position || now_at.generation != seen.generation;
      const bool owes = is_waited_for(group, needed);
      waited_for = waited_for || owes;
      if (moved || !owes) {
        seen = now_at;
      } else if (is_too_long(now - seen.since) && group.change(word, GroupState::expelled)) {
        control.reader_bell.ring();
      }
    }
    if (waited_for || complete != ring_->complete()) stalled_since = now;
    complete = ring_->complete();
    if (ready()) return true;
    if (!is_too_long(now - stalled_since)) return false;
    outcome = !alone ? Wait::stalled : lost_reader ? Wait::readers_lost : Wait::no_reader;
    return true;
  };
  struct Stopwatch {
    ~Stopwatch() { total += monotonic_ns() - started; }
    std::int64_t& total;
    std::int64_t started;
  } const stopwatch{counters_.ns_waited, started};
  while (!wait_on(control.writer_bell, Deadline(1), interrupt, look, longest_sleep)) {
  }
  return outcome;
}

void StreamWriter::wait_for_readers(const char* purpose, std::uint64_t step, std::uint64_t needed,
                                    const Interrupt& interrupt,
                                    const std::function<bool()>& ready) {
  const auto outcome = wait_while(needed, interrupt, ready, longest_sleep_ns);
  if (outcome == Wait::over) return;
  const auto what = std::string("could not ") + purpose + " step " + std::to_string(step) + " of " +
                    options_.label + " within " + readable_seconds(options_.timeout) + ": ";
  switch (outcome) {
    case Wait::over:
      return;
    case Wait::no_reader:
      throw Error(
          Status::timeout,
          what + "no reader was there, and the policy holds the producer until one has read");
    case Wait::readers_lost:
      throw Error(Status::peer_lost,
                  what + "its reader died or left by an exception, and no other came");
    case Wait::stalled:
      throw Error(Status::timeout, what + "the other writer ranks have not ended the step before");
  }
}

void StreamWriter::end(const Metadata& metadata, bool written_to, const Interrupt& interrupt) {
  require_step();
  const auto step = next_step_;
  try {
    build(metadata, written_to, interrupt);
  } catch (...) {
    abandon();
    throw;
  }
  auto& segment = segments_.front();
  auto& contribution = ring_->contribution(step, options_.rank);
  contribution.block.store(segment.block->number);
  contribution.size.store(segment.used);
  contribution.time_ns.store(wall_clock_ns());
  expected_bytes_ = segment.used;
  segment.block->step = step;
  for (const auto& entry : segment.entries) counters_.bytes += entry.nbytes;
  counters_.steps += 1;
  blocks_.push_back(segment.block);
  segments_.clear();

  in_step_ = false;
  next_step_ = step + 1;
  ring_->writer(options_.rank).ended.store(step + 1);
  ring_->control().reader_bell.ring();
  if (options_.size > 1) ring_->control().writer_bell.ring();
  if (ring_->policy().kind == PolicyKind::lockstep) {
    wait_for_readers("end", step, step + 1, interrupt, [&] { return ring_->floor() > step; });
  }
}

// Brings the step into one block, with its header, and gives up the right to write to it.
void StreamWriter::build(const Metadata& metadata, bool written_to, const Interrupt& interrupt) {
  if (segments_.empty()) segments_.push_back(new_segment(header_room_, interrupt));
  const auto entries_of_all = [&] {
    std::vector<Entry> entries;
    for (const auto& segment : segments_) {
      entries.insert(entries.end(), segment.entries.begin(), segment.entries.end());
    }
    return entries;
  };
  std::string header;
  if (segments_.size() == 1) header = header_for(entries_of_all(), metadata, header_room_);
  // It outgrew its room, or lies in several blocks: this once it is copied together.
  for (auto room = header_room_; header.empty(); room += room) {
    auto probe = entries_of_all();
    for (auto& entry : probe) entry.offset += UINT32_MAX;  // offsets of the most digits
    if (header_for(probe, metadata, room).empty()) continue;
    assemble(room, interrupt);
    header = header_for(entries_of_all(), metadata, header_room_);
  }
  auto& segment = segments_.front();
  auto* const bytes = segment.block->mapping->bytes;
  std::copy(header.begin(), header.end(), bytes);
  stamp_version(bytes, version_text(next_step_ + 1, 0));
  give_up(segment, written_to);
}

void StreamWriter::abandon() {
  if (!in_step_ || generation_ != fork_generation()) return;
  for (auto& segment : segments_) release(segment);
  segments_.clear();
  in_step_ = false;
}

void StreamWriter::close(bool failed) {
  if (closed_) return;
  if (generation_ != fork_generation()) {
    closed_ = true;
    return;
  }
  abandon();
  closed_ = true;
  if (ring_ == nullptr) return;
  ring_->writer(options_.rank).closing.store(failed ? Closing::by_failure : Closing::cleanly);
  ring_->control().reader_bell.ring();
  ring_->control().writer_bell.ring();
  blocks_.clear();
  lifeline_.reset();
  ring_->bury_dead_groups();
  ring_->remove_if_done();
}

}  // namespace dovetail
