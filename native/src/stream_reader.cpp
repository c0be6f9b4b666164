// The life of a reader: joining, taking steps, leaving.
#include "stream_reader.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "error.hpp"
#include "fork.hpp"
#include "names.hpp"

namespace dovetail {

StreamReader::StreamReader(Options options, const Interrupt& interrupt)
    : options_(std::move(options)), generation_(fork_generation()) {
  options_.group = shortened(options_.group, sizeof Group::name - 1);
  if (options_.size > most_group_ranks) {
    throw Error(Status::capability, "a reader group on this engine has at most " +
                                        std::to_string(most_group_ranks) + " ranks");
  }
  const bool joined = poll_until(Deadline(options_.timeout), interrupt, [&] { return try_join(); });
  if (!joined) {
    const auto what = options_.rank == 0 ? "no writer has opened the stream "
                                         : "rank 0 of this reader group has not joined the stream ";
    throw Error(Status::timeout,
                what + options_.label + " within " + readable_seconds(options_.timeout) +
                    ": start it, check that both use this URL, or give open_stream() "
                    "a longer timeout");
  }
}

bool StreamReader::try_join() {
  ring_ = Ring::attach(options_.path, options_.label);
  if (ring_ == nullptr || !ring_->is_joinable()) return false;
  bool joined = false;
  try {
    lifeline_ = std::make_unique<Lifeline>(ring_->lifelines_folder());
    ring_->bury_dead_groups();
    joined = ring_->is_still_there() && (options_.rank == 0 ? lead_group() : follow_group());
  } catch (const Error& error) {
    if (error.system_error != ENOENT) throw;  // else the epoch was removed meanwhile
  }
  if (!joined) lifeline_.reset();
  return joined;
}

bool StreamReader::lead_group() {
  auto& control = ring_->control();
  for (std::uint32_t index = 0; index < most_groups; ++index) {
    auto& group = control.groups[index];
    auto word = group.word.load();
    const auto state = Group::state_in(word);
    const bool reusable = state == GroupState::unused || state == GroupState::left ||
                          state == GroupState::failed || state == GroupState::lost;
    if (!reusable || ring_->is_inhabited(group)) continue;
    const auto joining =
        (Group::generation_in(word) + 1) << 8 | static_cast<std::uint64_t>(GroupState::joining);
    if (!group.word.compare_exchange_strong(word, joining)) continue;
    group.size.store(options_.size);
    group.outcome.store(Outcome::none);
    std::memset(group.name, 0, sizeof group.name);
    std::strncpy(group.name, options_.group.c_str(), sizeof group.name - 1);
    group.picks.store(0);
    group.chosen.store(0);
    for (auto& rank : group.ranks) {
      rank.lifeline.store(0);
      rank.taken.store(0);
      rank.ended.store(0);
      rank.gone.store(0);
    }
    take_entry(index);
    self_->lifeline.store(number_of(lifeline_->name()));
    auto count = control.group_count.load();
    while (count <= index && !control.group_count.compare_exchange_weak(count, index + 1)) {
    }
    // See Ring::floor for why `oldest` is read again once the group is live.
    auto start = control.oldest.load();
    group.start.store(start);
    group.change(joining, GroupState::live);
    for (auto again = control.oldest.load(); again != start; again = control.oldest.load()) {
      start = again;
      group.start.store(start);
    }
    // Of what `latest` drops, that before does not count.
    const auto complete = ring_->complete();
    first_step_ = complete > start ? complete - 1 : start;
    control.writer_bell.ring();
    control.reader_bell.ring();
    return true;
  }
  throw Error(Status::capability, "the stream " + options_.label + " already has " +
                                      std::to_string(most_groups) + " reader groups");
}

void StreamReader::take_entry(std::uint32_t index) {
  entry_ = index;
  group_ = &ring_->group(index);
  self_ = &group_->ranks[options_.rank];
}

bool StreamReader::follow_group() {
  for (std::uint32_t index = 0; index < ring_->group_count(); ++index) {
    auto& group = ring_->group(index);
    if (!ring_->is_live(group) || group.size.load() != options_.size) continue;
    const bool ours = options_.known_group >= 0 ? index == options_.known_group
                                                : std::strncmp(group.name, options_.group.c_str(),
                                                               sizeof group.name - 1) == 0;
    if (!ours) continue;
    std::uint64_t vacant = 0;
    if (!group.ranks[options_.rank].lifeline.compare_exchange_strong(
            vacant, number_of(lifeline_->name()))) {
      throw Error(Status::busy, "rank " + std::to_string(options_.rank) + " of the reader group '" +
                                    options_.group + "' of " + options_.label +
                                    " is already there");
    }
    take_entry(index);
    return true;
  }
  return false;
}

StreamReader::~StreamReader() {
  if (generation_ != fork_generation()) {
    if (lifeline_) lifeline_->abandon();
    return;
  }
  try {
    close(false);
  } catch (const Error&) {  // seen as a reader that died
  }
}

void StreamReader::require_usable() {
  if (generation_ != fork_generation()) {
    throw Error(Status::closed, "the stream " + options_.label +
                                    " was opened before this process was forked: it is its "
                                    "parent's. Open streams after the fork");
  }
  if (closed_) throw Error(Status::closed, "the stream " + options_.label + " is closed");
}

// Throws if this group does not take part any more.
void StreamReader::check_membership() {
  const auto state = group_->state();
  if (state == GroupState::live) return;  // nobody else gets the entry while this rank lives
  if (state == GroupState::expelled) {
    throw Error(Status::expelled,
                "this reader of " + options_.label +
                    " held the producer up for longer than the producer's deadline and was "
                    "expelled. What it has in hand stays valid; open the stream again to go on, "
                    "or give the producer a longer timeout");
  }
  throw Error(Status::peer_lost,
              "another rank of this reader group of " + options_.label + " has left or died");
}

void StreamReader::throw_lost(RingState state) {
  throw Error(Status::peer_lost,
              "the producer of " + options_.label +
                  (state == RingState::lost
                       ? " died without ending the stream"
                       : " left by an exception, or its ranks ended different numbers of steps") +
                  "; every complete step was delivered (the last was " +
                  (last_step_ == no_step ? "none" : std::to_string(last_step_)) + ")");
}

std::optional<std::uint64_t> StreamReader::choose_step() {
  const auto complete = ring_->complete();
  switch (ring_->policy().kind) {
    case PolicyKind::lockstep:
    case PolicyKind::buffered: {
      const auto step = group_->start.load() + taken_;
      if (step < complete) return step;
      return std::nullopt;
    }
    case PolicyKind::latest:
      if (complete > next_step()) return complete - 1;
      return std::nullopt;
    case PolicyKind::work_queue:
      break;
  }
  ring_->unfinished(complete);  // raises `oldest` past what is done
  for (auto step = ring_->first_slotted(complete); step < complete; ++step) {
    bool redelivered = false;
    if (!ring_->claim(step, entry_, redelivered)) continue;
    counters_.redelivered += redelivered ? 1 : 0;
    return step;
  }
  return std::nullopt;
}

// Makes the choice known, so that the writers keep the step; under `latest` it must still be the
// newest afterwards, else they may have given it up.
void StreamReader::announce_pick(std::uint64_t step) {
  auto& place = group_->pick[taken_ % most_picks];
  place.store(step);
  group_->picks.store(taken_ + 1);
  if (ring_->policy().kind == PolicyKind::latest) {
    for (auto newest = ring_->complete() - 1; newest != step; newest = ring_->complete() - 1) {
      step = newest;
      place.store(step);
    }
  }
  if (options_.size > 1) {
    group_->chosen.store(taken_ + 1);
    ring_->control().reader_bell.ring();
  }
}

std::optional<std::uint64_t> StreamReader::find_pick() {
  if (options_.rank != 0) {
    if (group_->chosen.load() > taken_) return group_->pick[taken_ % most_picks].load();
    return std::nullopt;
  }
  // Chosen before, but then its blocks could not be opened.
  if (group_->picks.load() > taken_) return group_->pick[taken_ % most_picks].load();
  // The other ranks may lag behind by as many deliveries as there are places.
  if (taken_ >= ring_->ended_by(*group_) + most_picks) return std::nullopt;
  const auto step = choose_step();
  if (!step) return std::nullopt;
  announce_pick(*step);
  return group_->pick[taken_ % most_picks].load();
}

// Whether the stream has come to its end for this rank; throws if the producer was lost.
bool StreamReader::at_end() {
  if (options_.rank != 0) {
    switch (group_->outcome.load()) {
      case Outcome::none:
        return false;
      case Outcome::end:
        return group_->chosen.load() <= taken_;
      case Outcome::lost:
        if (group_->chosen.load() <= taken_) throw_lost(ring_->state());
        return false;
      case Outcome::left:
        throw Error(Status::peer_lost,
                    "rank 0 of this reader group of " + options_.label + " has left");
    }
  }
  const auto before = ring_->complete();
  const auto state = ring_->state();
  // Steps that were ended between the look for one and the look at the writers come first.
  if (state == RingState::open || ring_->complete() != before || has_next_step()) return false;
  if (state == RingState::ended) {
    if (ring_->policy().kind == PolicyKind::work_queue && ring_->unfinished(before) != 0) {
      return false;  // another group holds a step: should it die, the step is dealt again
    }
    group_->outcome.store(Outcome::end);
    ring_->control().reader_bell.ring();
    return true;
  }
  group_->outcome.store(Outcome::lost);
  ring_->control().reader_bell.ring();
  throw_lost(state);
}

// Whether choose_step() would find one, without claiming it.
bool StreamReader::has_next_step() {
  const auto complete = ring_->complete();
  switch (ring_->policy().kind) {
    case PolicyKind::lockstep:
    case PolicyKind::buffered:
      return group_->start.load() + taken_ < complete;
    case PolicyKind::latest:
      return complete > next_step();
    case PolicyKind::work_queue:
      break;
  }
  return ring_->has_claimable();
}

std::optional<Step> StreamReader::next(double timeout, const Interrupt& interrupt) {
  require_usable();
  if (finished_) return std::nullopt;
  end();
  check_membership();
  auto& control = ring_->control();
  const auto started = monotonic_ns();
  std::optional<std::uint64_t> step;
  bool ended = false;
  const auto look = [&] {
    step = find_pick();
    if (step) return true;
    const auto now = monotonic_ns();
    bool writers_left = options_.rank != 0 && group_->outcome.load() != Outcome::none;
    for (std::uint32_t rank = 0; rank < ring_->writer_count() && !writers_left; ++rank) {
      writers_left = ring_->writer(rank).closing.load() != Closing::open;
    }
    const bool due = now - checked_ >= longest_sleep_ns / 2;
    if (due) {
      checked_ = now;
      ring_->bury_dead_groups();
      check_membership();
    }
    if (due || writers_left) ended = at_end();
    return ended;
  };
  const bool found = wait_on(control.reader_bell, Deadline(timeout), interrupt, look);
  counters_.ns_waited += monotonic_ns() - started;
  if (!found) {
    throw Error(Status::timeout, "no new step of " + options_.label + " within " +
                                     readable_seconds(timeout) +
                                     "; its producer is alive. Wait again, or give open_stream() a "
                                     "longer timeout");
  }
  if (ended) {
    finished_ = true;
    return std::nullopt;
  }
  auto taken = blocks_.open(*ring_, *step);
  check_membership();  // while it was not yet leased, the writers kept the step for members only
  if (!taken) {
    throw Error(Status::corrupt, "step " + std::to_string(*step) + " of " + options_.label +
                                     " is not in its blocks: was the stream tampered with?");
  }
  if (ring_->policy().kind == PolicyKind::latest) {
    if (options_.rank != 0 && last_step_ == no_step) first_step_ = *step;  // as rank 0 found it
    counters_.dropped += *step - next_step();
  }
  last_step_ = *step;
  taken_ += 1;
  self_->taken.store(taken_);
  in_step_ = true;
  for (const auto& block : taken->blocks) {
    for (const auto& entry : block.header->entries) counters_.bytes += entry.nbytes;
  }
  return taken;
}

void StreamReader::end() {
  if (!in_step_ || closed_ || generation_ != fork_generation()) return;
  in_step_ = false;
  counters_.steps += 1;
  self_->ended.store(taken_);
  if (ring_->policy().kind == PolicyKind::work_queue) {
    if (ring_->ended_by(*group_) >= taken_) ring_->finish(last_step_, entry_);
    ring_->control().reader_bell.ring();  // others may be waiting for the last step to be done
  } else {
    // Under `latest` deliveries skip steps: the group's cursor is moved along.
    const bool skips = ring_->policy().kind == PolicyKind::latest && options_.rank == 0;
    if (skips) group_->start.store(last_step_ + 1 - taken_);
    ring_->floor();
  }
  ring_->control().writer_bell.ring();
  if (options_.size > 1) ring_->control().reader_bell.ring();
}

void StreamReader::stop() {
  require_usable();
  ring_->control().stop.store(1);
  close(false);
}

void StreamReader::close(bool failed) {
  if (closed_) return;
  closed_ = true;
  if (generation_ != fork_generation() || ring_ == nullptr || self_ == nullptr) return;
  ring_->control().heard.store(1);
  bool last = true;
  for (std::uint32_t rank = 0; rank < group_->ranks_in_use(); ++rank) {
    const auto& other = group_->ranks[rank];
    last = last && (rank == options_.rank || other.gone.load() != 0 || other.lifeline.load() == 0);
  }
  if (options_.rank == 0 && group_->outcome.load() == Outcome::none) {
    group_->outcome.store(Outcome::left);
  }
  if (failed || last) {
    const auto kind = ring_->policy().kind;
    if (kind != PolicyKind::work_queue) ring_->floor();  // what it ended is released
    const auto word = group_->word.load();
    const auto state = Group::state_in(word);
    if (state == GroupState::live || state == GroupState::expelled) {
      group_->change(word, failed ? GroupState::failed : GroupState::left);
    }
  }
  self_->gone.store(1);  // the last write: another group may have the entry from now on
  lifeline_.reset();
  ring_->control().writer_bell.ring();
  ring_->control().reader_bell.ring();
  ring_->remove_if_done();
}

}  // namespace dovetail
