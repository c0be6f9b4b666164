// The rules of the control page: what is complete, needed, claimed, alive.
#include "ring.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>

#include "error.hpp"

namespace dovetail {
namespace {

// An owner word: the low half of the step, the generation and the number of the group, and whether
// the group has ended it. The step guards against a slot that was given to another step meanwhile.
constexpr std::uint64_t done_bit = 1;

std::uint64_t free_word(std::uint64_t step) { return step << 32; }
std::uint64_t owned_word(std::uint64_t step, std::uint32_t group, std::uint64_t generation) {
  return step << 32 | (generation & 0xFFFF) << 16 | static_cast<std::uint64_t>(group + 1) << 1;
}
bool is_of_step(std::uint64_t word, std::uint64_t step) {
  return word >> 32 == (step & 0xFFFFFFFF);
}

void raise_to(std::atomic<std::uint64_t>& value, std::uint64_t least) {
  auto now = value.load();
  while (now < least && !value.compare_exchange_weak(now, least)) {
  }
}

}  // namespace

std::uint64_t number_of(const std::string& lifeline) {
  return std::strtoull(lifeline.c_str(), nullptr, 16);
}

std::string lifeline_name(std::uint64_t number) {
  char name[17];
  std::snprintf(name, sizeof name, "%016llx", static_cast<unsigned long long>(number));
  return name;
}

std::uint64_t Ring::complete() {
  auto least = no_step;
  for (std::uint32_t rank = 0; rank < writer_count_; ++rank) {
    least = std::min(least, writers_[rank].ended.load());
  }
  return least;
}

std::uint64_t Ring::ended_by(const Group& group) {
  auto least = no_step;
  for (std::uint32_t rank = 0; rank < group.ranks_in_use(); ++rank) {
    if (group.ranks[rank].gone.load() == 0) least = std::min(least, group.ranks[rank].ended.load());
  }
  return least == no_step ? group.picks.load() : least;
}

std::uint64_t Ring::taken_by(const Group& group) {
  auto least = no_step;
  for (std::uint32_t rank = 0; rank < group.ranks_in_use(); ++rank) {
    if (group.ranks[rank].gone.load() == 0) least = std::min(least, group.ranks[rank].taken.load());
  }
  return least == no_step ? group.picks.load() : least;
}

bool Ring::has_live_group() {
  const auto count = group_count();
  for (std::uint32_t index = 0; index < count; ++index) {
    if (is_live(control_->groups[index])) return true;
  }
  return false;
}

// A joining group becomes live at `oldest` and then reads `oldest` again. Here `oldest` is raised
// and then the groups are read again: one of the two sees the other, so that no reader starts at a
// step that is being overwritten.
std::uint64_t Ring::floor() {
  const auto lowest_cursor = [&] {
    auto lowest = no_step;
    const auto count = group_count();
    for (std::uint32_t index = 0; index < count; ++index) {
      const auto& group = control_->groups[index];
      if (is_live(group)) lowest = std::min(lowest, cursor_of(group));
    }
    return lowest;
  };
  const auto first = lowest_cursor();
  if (first == no_step) return control_->oldest.load();
  raise_to(control_->oldest, first);
  return std::min(first, lowest_cursor());
}

bool Ring::needed(std::uint64_t step) {
  switch (policy_.kind) {
    case PolicyKind::lockstep:
    case PolicyKind::buffered:
      return step >= floor();
    case PolicyKind::work_queue:
      return !is_done(step);
    case PolicyKind::latest:
      break;
  }
  if (step + 1 >= complete()) return true;
  const auto count = group_count();
  for (std::uint32_t index = 0; index < count; ++index) {
    const auto& group = control_->groups[index];
    if (!is_live(group)) continue;
    const auto picks = group.picks.load();
    for (auto pick = taken_by(group); pick < picks; ++pick) {
      if (group.pick[pick % most_picks].load() == step) return true;
    }
  }
  return false;
}

std::uint64_t Ring::steps_held() {
  const auto all = complete();
  switch (policy_.kind) {
    case PolicyKind::lockstep:
    case PolicyKind::buffered: {
      const auto first = floor();
      return all > first ? all - first : 0;
    }
    case PolicyKind::work_queue:
      return unfinished(all);
    case PolicyKind::latest:
      break;
  }
  return all > floor() ? 1 : 0;
}

bool Ring::owner_is_live(std::uint64_t owner) {
  const auto number = (owner & 0xFFFF) >> 1;
  if (number == 0 || number > most_groups) return false;
  const auto word = control_->groups[number - 1].word.load();
  return (Group::generation_in(word) & 0xFFFF) == (owner >> 16 & 0xFFFF) &&
         Group::state_in(word) == GroupState::live;
}

void Ring::clear_slot(std::uint64_t step) { slot(step).owner.store(free_word(step)); }

bool Ring::claim(std::uint64_t step, std::uint32_t index, bool& redelivered) {
  auto& word = slot(step).owner;
  auto owner = word.load();
  if (!is_claimable(step)) return false;
  redelivered = owner != free_word(step);
  return word.compare_exchange_strong(
      owner, owned_word(step, index, control_->groups[index].generation()));
}

bool Ring::is_claimable(std::uint64_t step) {
  const auto owner = slot(step).owner.load();
  return is_of_step(owner, step) && (owner & done_bit) == 0 && !owner_is_live(owner);
}

bool Ring::has_claimable() {
  const auto end = complete();
  for (auto step = first_slotted(end); step < end; ++step) {
    if (is_claimable(step)) return true;
  }
  return false;
}

void Ring::finish(std::uint64_t step, std::uint32_t index) {
  auto owner = owned_word(step, index, control_->groups[index].generation());
  slot(step).owner.compare_exchange_strong(owner, owner | done_bit);
}

bool Ring::is_done(std::uint64_t step) {
  const auto owner = slot(step).owner.load();
  return !is_of_step(owner, step) || (owner & done_bit) != 0;
}

// The oldest step that may still be unfinished: not before `oldest`, nor before what has a slot.
std::uint64_t Ring::first_slotted(std::uint64_t before) {
  const auto least = before > slot_count_ ? before - slot_count_ : 0;
  return std::max(control_->oldest.load(), least);
}

std::uint64_t Ring::unfinished(std::uint64_t before) {
  auto first = first_slotted(before);
  while (first < before && is_done(first)) ++first;
  raise_to(control_->oldest, first);
  std::uint64_t count = 0;
  for (auto step = first; step < before; ++step) count += is_done(step) ? 0 : 1;
  return count;
}

bool Ring::is_inhabited(const Group& group) {
  for (const auto& rank : group.ranks) {
    const auto lifeline = rank.lifeline.load();
    if (lifeline != 0 && rank.gone.load() == 0 &&
        !is_dead(lifelines_.get(), lifeline_name(lifeline))) {
      return true;
    }
  }
  return false;
}

void Ring::bury_dead_groups() {
  const auto count = group_count();
  for (std::uint32_t index = 0; index < count; ++index) {
    auto& group = control_->groups[index];
    const auto word = group.word.load();
    const auto state = Group::state_in(word);
    if (state != GroupState::live && state != GroupState::expelled) continue;
    for (std::uint32_t rank = 0; rank < group.ranks_in_use(); ++rank) {
      const auto lifeline = group.ranks[rank].lifeline.load();
      if (lifeline == 0 || group.ranks[rank].gone.load() != 0) continue;
      if (!is_dead(lifelines_.get(), lifeline_name(lifeline))) continue;
      if (group.ranks[rank].gone.load() == 0 && group.change(word, GroupState::lost)) {
        control_->writer_bell.ring();
        control_->reader_bell.ring();
      }
      break;
    }
  }
}

RingState Ring::state() {
  std::uint64_t ended = no_step;
  bool open = false, uneven = false;
  for (std::uint32_t rank = 0; rank < writer_count_; ++rank) {
    auto& writer = writers_[rank];
    switch (writer.closing.load()) {
      case Closing::by_failure:
        return RingState::failed;
      case Closing::cleanly: {
        const auto steps = writer.ended.load();
        uneven = uneven || (ended != no_step && ended != steps);
        ended = steps;
        break;
      }
      case Closing::open:
        open = true;
        const auto lifeline = writer.lifeline.load();
        // Rank 0 registers as it makes the epoch; the others may still be on their way.
        if (lifeline != 0 && is_dead(lifelines_.get(), lifeline_name(lifeline)) &&
            writer.closing.load() == Closing::open) {
          return RingState::lost;
        }
        break;
    }
  }
  if (open) return RingState::open;
  return uneven ? RingState::failed : RingState::ended;
}

bool Ring::is_led() {
  const auto lifeline = writers_[0].lifeline.load();
  return writers_[0].closing.load() == Closing::open && lifeline != 0 &&
         !is_dead(lifelines_.get(), lifeline_name(lifeline));
}

bool Ring::holds_for_readers() { return control_->stop.load() == 0 && steps_held() != 0; }

// That a stream has ended, or has failed, is held until a reader has heard of it, as steps are.
bool Ring::is_joinable() {
  const auto now = state();
  if (now == RingState::open || control_->heard.load() == 0) return true;
  return now == RingState::ended && holds_for_readers();
}

}  // namespace dovetail
