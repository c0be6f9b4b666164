#include "assembly.hpp"

#include <algorithm>
#include <unordered_map>

#include "error.hpp"

namespace dovetail {
namespace {

[[noreturn]] void refuse(const std::string& message) { throw Error(Status::coverage, message); }

template <class Text>
std::string listed(const std::vector<ArrayBlock>& blocks, Text text) {
  std::string list;
  for (const auto& block : blocks) {
    if (!list.empty()) list += ", ";
    list += text(*block.variable);
  }
  return list;
}

void place_blocks(GlobalArray& array) {
  const auto& first = *array.blocks.front().variable;
  array.shape = first.place->shape;
  for (auto& block : array.blocks) {
    if (block.variable->place->shape != array.shape) {
      refuse("ranks disagree on the global shape of '" + array.name + "': " +
             listed(array.blocks, [](const Variable& v) { return text_of(v.place->shape); }));
    }
    block.start = block.variable->place->start;
  }
}

void join_blocks(GlobalArray& array) {
  const auto& first = array.blocks.front().variable->shape;
  array.shape = first;
  array.blocks.front().start = Extents(first.size(), 0);
  if (array.blocks.size() == 1) return;
  const auto is_alike = [&](const ArrayBlock& block) {
    const auto& shape = block.variable->shape;
    return !shape.empty() && shape.size() == first.size() &&
           std::equal(shape.begin() + 1, shape.end(), first.begin() + 1);
  };
  if (!std::all_of(array.blocks.begin(), array.blocks.end(), is_alike)) {
    refuse("ranks put '" + array.name + "' of shapes " +
           listed(array.blocks, [](const Variable& v) { return text_of(v.shape); }) +
           ", which cannot be joined along axis 0: give a global shape and start, put it on one " +
           "rank, or keep numbers that all share in the attributes");
  }
  std::int64_t rows = 0;
  for (auto& block : array.blocks) {
    block.start = Extents(first.size(), 0);
    block.start[0] = rows;
    if (__builtin_add_overflow(rows, block.variable->shape[0], &rows)) {
      refuse("'" + array.name + "' has more rows than can be counted");
    }
  }
  array.shape[0] = rows;
}

void settle(GlobalArray& array) {
  const auto& blocks = array.blocks;
  if (std::any_of(blocks.begin(), blocks.end(),
                  [&](const ArrayBlock& block) { return block.variable->dtype != array.dtype; })) {
    refuse("ranks put '" + array.name + "' as " +
           listed(blocks, [](const Variable& v) { return std::string(name_of(v.dtype)); }) +
           ": one dtype is needed");
  }
  const auto placed = std::count_if(blocks.begin(), blocks.end(), [](const ArrayBlock& block) {
    return block.variable->place.has_value();
  });
  if (placed == 0) return join_blocks(array);
  if (placed != static_cast<std::ptrdiff_t>(blocks.size())) {
    refuse("some ranks put '" + array.name + "' with a global shape and start, others without: " +
           "all must say where their block lies, or none");
  }
  place_blocks(array);
}

void check_selection(const GlobalArray& array, const Extents& start, const Extents& count) {
  const auto rank = array.shape.size();
  if (start.size() != rank || count.size() != rank) {
    refuse("'" + array.name + "' has " + std::to_string(rank) + " axes; start=" + text_of(start) +
           " and count=" + text_of(count) + " must too");
  }
  for (std::size_t i = 0; i < rank; ++i) {
    if (start[i] < 0 || count[i] < 0 || count[i] > array.shape[i] ||
        start[i] > array.shape[i] - count[i]) {
      refuse("start=" + text_of(start) + ", count=" + text_of(count) + " is not inside '" +
             array.name + "' of shape " + text_of(array.shape));
    }
  }
  count_of(count, item_bytes(array.dtype), array.name);
}

// The part of a selection that a block covers; nothing if there is none.
bool overlap_with(const ArrayBlock& block, const Extents& start, const Extents& count,
                  Overlap& overlap) {
  overlap.low.resize(start.size());
  overlap.count.resize(start.size());
  for (std::size_t i = 0; i < start.size(); ++i) {
    const auto low = std::max(start[i], block.start[i]);
    const auto high = std::min(start[i] + count[i], block.start[i] + block.variable->shape[i]);
    if (low >= high) return false;
    overlap.low[i] = low;
    overlap.count[i] = high - low;
  }
  return true;
}

bool do_overlap(const Overlap& a, const Overlap& b) {
  for (std::size_t i = 0; i < a.low.size(); ++i) {
    if (a.low[i] >= b.low[i] + b.count[i] || b.low[i] >= a.low[i] + a.count[i]) return false;
  }
  return true;
}

std::int64_t cells_in(const Extents& count) {
  std::int64_t cells = 1;
  for (const auto extent : count) cells *= extent;
  return cells;
}

std::vector<Overlap> overlaps_of(const GlobalArray& array, const Extents& start,
                                 const Extents& count) {
  std::vector<Overlap> overlaps;
  if (std::find(count.begin(), count.end(), 0) != count.end()) return overlaps;
  std::int64_t covered = 0;
  for (std::size_t index = 0; index < array.blocks.size(); ++index) {
    Overlap overlap{index, {}, {}};
    if (!overlap_with(array.blocks[index], start, count, overlap)) continue;
    for (const auto& other : overlaps) {
      if (!do_overlap(overlap, other)) continue;
      const auto tell = [&](std::size_t block) {
        return std::to_string(block) + " at " + text_of(array.blocks[block].start) + " of shape " +
               text_of(array.blocks[block].variable->shape);
      };
      refuse("two blocks of '" + array.name + "' overlap: block " + tell(other.block) +
             " and block " + tell(index));
    }
    covered += cells_in(overlap.count);
    overlaps.push_back(std::move(overlap));
  }
  const auto wanted = cells_in(count);
  if (covered != wanted) {
    refuse(std::to_string(wanted - covered) + " of " + std::to_string(wanted) + " cells of '" +
           array.name + "' (start " + text_of(start) + ", count " + text_of(count) +
           ") are in no block: every rank must put its part of the global array");
  }
  return overlaps;
}

constexpr std::size_t most_known = 32;

}  // namespace

std::vector<GlobalArray> global_arrays(const std::vector<RankPart>& ranks) {
  std::vector<GlobalArray> arrays;
  std::unordered_map<std::string, std::size_t> places;
  for (const auto& rank : ranks) {
    for (const auto& variable : rank.variables) {
      const auto [place, is_new] = places.emplace(variable.name, arrays.size());
      if (is_new) arrays.push_back({variable.name, variable.dtype, {}, {}});
      arrays[place->second].blocks.push_back(
          {&variable, rank.memory->data() + variable.offset, {}});
    }
  }
  for (auto& array : arrays) settle(array);
  return arrays;
}

Overlaps OverlapCache::find(const GlobalArray& array, const Extents& start, const Extents& count) {
  check_selection(array, start, count);
  if (array.blocks.size() == 1) {
    return std::make_shared<const std::vector<Overlap>>(overlaps_of(array, start, count));
  }
  std::vector<Extents> layout{start, count};
  for (const auto& block : array.blocks) {
    layout.push_back(block.start);
    layout.push_back(block.variable->shape);
  }
  const std::lock_guard lock(mutex_);
  for (const auto& known : known_) {
    if (known.layout == layout) return known.overlaps;
  }
  auto overlaps = std::make_shared<const std::vector<Overlap>>(overlaps_of(array, start, count));
  Known found{std::move(layout), overlaps};
  if (known_.size() < most_known) {
    known_.push_back(std::move(found));
  } else {
    known_[next_++ % most_known] = std::move(found);
  }
  return overlaps;
}

const std::uint8_t* first_of(const ArrayBlock& block, const Extents& start) {
  const auto* data = block.data;
  for (std::size_t i = 0; i < start.size(); ++i) {
    data += (start[i] - block.start[i]) * block.variable->strides[i];
  }
  return data;
}

void copy_selection(const GlobalArray& array, const std::vector<Overlap>& overlaps,
                    const Extents& start, std::uint8_t* to, const Extents& to_strides) {
  for (const auto& overlap : overlaps) {
    const auto& block = array.blocks[overlap.block];
    auto* target = to;
    for (std::size_t i = 0; i < start.size(); ++i) {
      target += (overlap.low[i] - start[i]) * to_strides[i];
    }
    copy_elements(target, to_strides, first_of(block, overlap.low), block.variable->strides,
                  overlap.count, item_bytes(array.dtype));
  }
}

}  // namespace dovetail
