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
    if (ring == nullptr || ring->state() != RingState::open) return false;
    if (ring->control().writers != options_.size) {
      throw Error(Status::busy, "the stream " + options_.label + " was opened for " +
                                    std::to_string(ring->control().writers) +
                                    " writer ranks; rank " + std::to_string(options_.rank) +
                                    " says there are " + std::to_string(options_.size));
    }
    auto& rank = ring->writer(options_.rank);
    auto lifeline = std::make_unique<Lifeline>(ring->lifelines_folder());
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
                                     " for writing within " + readable_seconds(options_.timeout) +
                                     "");
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
  const auto slots = ring_->control().slots;
  return step < slots || !ring_->needed(step - slots);
}

bool StreamWriter::may_admit(std::uint64_t step) {
  if (stopped() || !slot_is_free(step)) return stopped();
  const auto window = ring_->policy().window;
  switch (ring_->policy().kind) {
    case PolicyKind::lockstep:
    case PolicyKind::latest:
      return true;
    case PolicyKind::buffered: {
      const auto floor = ring_->floor();
      return step < floor + window;
    }
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
    wait_for_readers(interrupt, "begin", step, needed, [&] { return may_admit(step); });
  } else {
    const auto started = monotonic_ns();
    const Deadline deadline(options_.timeout);
    auto checked = started;
    const bool admitted = wait_on(control.writer_bell, deadline, interrupt, [&] {
      if (control.admitted.load() > step || stopped()) return true;
      const auto now = monotonic_ns();
      if (now - checked < longest_sleep_ns) return false;
      checked = now;
      const bool led = ring_->writer(0).closing.load() == Closing::open;
      if (led && ring_->state() == RingState::open) return false;
      throw Error(Status::peer_lost,
                  "another rank of the writer of " + options_.label + " has left or died");
    });
    counters_.ns_waited += monotonic_ns() - started;
    if (!admitted) {
      throw Error(Status::timeout, "rank 0 of the writer of " + options_.label +
                                       " did not begin step " + std::to_string(step) + " within " +
                                       readable_seconds(options_.timeout) + "");
    }
  }
  if (stopped()) {
    throw Error(Status::stopped, "a reader of " + options_.label +
                                     " called stop(): end the work (test `stopped` to end it "
                                     "without this error)");
  }
  if (options_.rank == 0 && control.admitted.load() <= step) {
    auto& slot = ring_->slot(step);
    slot.owner.store(step << 32);
    slot.step.store(step + 1);
    control.admitted.store(step + 1);
    if (options_.size > 1) control.writer_bell.ring();
  }
  in_step_ = true;
  return step;
}

bool StreamWriter::readers_ended(std::uint64_t step) { return ring_->floor() > step; }

// Whether the wait is for this group. `needed` is how many steps the readers of a bounded policy
// must have ended.
bool StreamWriter::is_waited_for(const Group& group, std::uint64_t needed) {
  switch (ring_->policy().kind) {
    case PolicyKind::lockstep:
    case PolicyKind::buffered:
      return ring_->cursor_of(group) < needed;
    case PolicyKind::work_queue:
      return ring_->ended_by(group) < group.picks.load() || ring_->has_claimable();
    case PolicyKind::latest:
      break;
  }
  return ring_->taken_by(group) < group.picks.load();
}

void StreamWriter::expel(Group& group) {
  auto live = GroupState::live;
  if (group.state.compare_exchange_strong(live, GroupState::expelled)) {
    ring_->control().reader_bell.ring();
  }
}

// Waits until ready() is true. A group that makes no progress for as long as the deadline is
// expelled; if there is no reader for so long, the wait fails.
template <class Ready>
void StreamWriter::wait_for_readers(const Interrupt& interrupt, const char* purpose,
                                    std::uint64_t step, std::uint64_t needed, Ready ready) {
  if (ready()) return;
  auto& control = ring_->control();
  const auto started = monotonic_ns();
  struct Progress {
    std::uint64_t position = no_step;
    std::int64_t since = 0;
  };
  std::vector<Progress> progress(most_groups);
  const auto patience = static_cast<std::int64_t>(options_.timeout * 1e9);
  auto checked = started - longest_sleep_ns;
  auto alone_since = started;
  bool lost_reader = false;

  const auto look = [&] {
    if (ready() || stopped()) return true;
    const auto now = monotonic_ns();
    if (now - checked < longest_sleep_ns / 2) return false;
    checked = now;
    ring_->bury_dead_groups();
    const auto count = control.group_count.load();
    bool alone = true;
    for (std::uint32_t index = 0; index < count; ++index) {
      auto& group = control.groups[index];
      const auto state = group.state.load();
      lost_reader = lost_reader || state == GroupState::lost || state == GroupState::failed;
      if (state != GroupState::live) continue;
      alone = false;
      const auto position = ring_->ended_by(group) + ring_->taken_by(group) +
                            (std::uint64_t{group.generation.load()} << 48);
      if (position != progress[index].position || !is_waited_for(group, needed)) {
        progress[index] = {position, now};
      } else if (options_.timeout >= 0 && now - progress[index].since >= patience) {
        expel(group);
      }
    }
    if (!alone) alone_since = now;
    if (ready()) return true;
    if (alone && options_.timeout >= 0 && now - alone_since >= patience) {
      const auto what = std::string("could not ") + purpose + " step " + std::to_string(step) +
                        " of " + options_.label + ": ";
      if (lost_reader) {
        throw Error(Status::peer_lost, what +
                                           "its reader died or left by an exception, and no "
                                           "other came within " +
                                           readable_seconds(options_.timeout) + "");
      }
      throw Error(Status::timeout, what + "no reader was there for " +
                                       readable_seconds(options_.timeout) +
                                       ", and the policy holds the producer until one has read");
    }
    return false;
  };
  try {
    const Deadline slice(options_.timeout >= 0 ? std::max(0.001, options_.timeout) : 3600);
    while (!wait_on(control.writer_bell, slice, interrupt, look)) {
    }
  } catch (...) {
    counters_.ns_waited += monotonic_ns() - started;
    throw;
  }
  counters_.ns_waited += monotonic_ns() - started;
}

void StreamWriter::end(const Metadata& metadata, const Interrupt& interrupt) {
  require_step();
  const auto step = next_step_;
  std::vector<Entry> entries;
  const auto collect = [&] {
    entries.clear();
    for (const auto& segment : segments_) {
      entries.insert(entries.end(), segment.entries.begin(), segment.entries.end());
    }
  };
  if (segments_.empty()) segments_.push_back(new_segment(header_room_, interrupt));
  std::string header;
  if (segments_.size() == 1) {
    collect();
    header = header_for(entries, metadata, header_room_);
  }
  if (header.empty()) {
    // It outgrew its room, or lies in several blocks: this once it is copied together.
    auto room = header_room_;
    collect();
    std::vector<Entry> probe = entries;
    for (auto& entry : probe) entry.offset += UINT32_MAX;  // offsets of the most digits
    while (header_for(probe, metadata, room).empty()) room += room;
    assemble(room, interrupt);
    collect();
    header = header_for(entries, metadata, header_room_);
  }
  auto& segment = segments_.front();
  auto& block = *segment.block;
  auto* const bytes = block.mapping->bytes;
  std::copy(header.begin(), header.end(), bytes);
  stamp_version(bytes, step + 1);

  std::uint64_t payload = 0;
  for (const auto& entry : entries) payload += entry.nbytes;
  auto& contribution = ring_->contribution(step, options_.rank);
  contribution.block.store(block.number);
  contribution.size.store(segment.used);
  contribution.time_ns.store(wall_clock_ns());
  expected_bytes_ = segment.used;
  block.step = step;
  detach_views(segment);
  segments_.clear();

  in_step_ = false;
  next_step_ = step + 1;
  ring_->writer(options_.rank).ended.store(step + 1);
  ring_->control().reader_bell.ring();
  counters_.steps += 1;
  counters_.bytes += payload;
  if (ring_->policy().kind == PolicyKind::lockstep) {
    wait_for_readers(interrupt, "end", step, step + 1, [&] { return readers_ended(step); });
  }
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
