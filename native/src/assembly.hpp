// Global arrays from the blocks that several ranks put into one step.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "memory.hpp"
#include "variables.hpp"

namespace dovetail {

// What one rank put into a step. Blocks refer to it.
struct RankPart {
  std::shared_ptr<Memory> memory;
  std::vector<Variable> variables;
};

struct ArrayBlock {
  const Variable* variable;
  const std::uint8_t* data;
  Extents start;
};

struct GlobalArray {
  std::string name;
  Dtype dtype;
  Extents shape;
  std::vector<ArrayBlock> blocks;  // in rank order
};

// The arrays of a step. Blocks that say where they begin are placed there; others are joined along
// axis 0 in rank order. Throws Error(Status::coverage) if the blocks of one name form no array.
std::vector<GlobalArray> global_arrays(const std::vector<RankPart>& ranks);

// What one block gives to a selection.
struct Overlap {
  std::size_t block;
  Extents low, count;  // in the global array
};
using Overlaps = std::shared_ptr<const std::vector<Overlap>>;

// Which blocks fill which part of a selection. The blocks of most streams lie alike in every step:
// what was found lately is kept. From any thread.
class OverlapCache {
 public:
  // Throws Error(Status::coverage) if the selection is not inside the array, if no block covers
  // some cell of it, or if two cover one.
  Overlaps find(const GlobalArray& array, const Extents& start, const Extents& count);

 private:
  struct Known {
    std::vector<Extents> layout;
    Overlaps overlaps;
  };
  std::mutex mutex_;
  std::vector<Known> known_;
  std::size_t next_ = 0;
};

// Where a part that lies in one block begins, and its strides are those of the block.
const std::uint8_t* first_of(const ArrayBlock& block, const Extents& start);

// Copies a selection into memory of any strides.
void copy_selection(const GlobalArray& array, const std::vector<Overlap>& overlaps,
                    const Extents& start, std::uint8_t* to, const Extents& to_strides);

}  // namespace dovetail
