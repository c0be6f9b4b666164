// Complete steps in the hands of a reader.
#include "calls.hpp"
#include "streams.hpp"

using namespace dovetail;
using namespace dovetail::abi;

namespace dovetail::abi {

StepInHand::StepInHand(Step taken, std::weak_ptr<OpenReader> reader,
                       std::shared_ptr<OverlapCache> overlaps)
    : index(taken.index),
      time_ns(taken.time_ns),
      reader_(std::move(reader)),
      overlaps_(std::move(overlaps)) {
  for (auto& block : taken.blocks) {
    ranks_.push_back({std::move(block.memory), variables_of(*block.header)});
    headers_.push_back(std::move(block.header));
  }
}

void StepInHand::end() {
  if (is_ended) return;
  const auto reader = reader_.lock();
  if (reader == nullptr) return;
  const std::lock_guard lock(reader->mutex);
  is_ended = true;
  if (reader->current != this) return;
  reader->current = nullptr;
  reader->core->end();
}

const std::string& StepInHand::attrs() {
  const std::lock_guard lock(mutex_);
  if (!has_attrs_) {
    std::vector<const Metadata*> metadata;
    for (const auto& header : headers_) metadata.push_back(&header->metadata);
    attrs_ = attributes_in(metadata);
    has_attrs_ = true;
  }
  return attrs_;
}

const std::vector<GlobalArray>& StepInHand::arrays() {
  const std::lock_guard lock(mutex_);
  if (!has_arrays_) {
    arrays_ = global_arrays(ranks_);
    has_arrays_ = true;
  }
  return arrays_;
}

const GlobalArray& StepInHand::find(const std::string& name) {
  std::string there;
  for (const auto& array : arrays()) {
    if (array.name == name) return array;
    there += (there.empty() ? "" : ", ") + array.name;
  }
  throw Error(Status::key_not_found, "step " + std::to_string(index) + " has no array '" + name +
                                         "'; there are " + (there.empty() ? "none" : there));
}

dvt_array StepInHand::view(const GlobalArray& array, const Extents& start, const Extents& count) {
  const std::lock_guard lock(mutex_);
  auto& place = shown_[{&array, start, count}];
  if (place.strides.size() != array.shape.size() || place.data == nullptr) {
    const auto overlaps = overlaps_->find(array, start, count);
    const auto item = item_bytes(array.dtype);
    place.shape = count;
    if (overlaps->size() == 1) {
      const auto& block = array.blocks[overlaps->front().block];
      place.strides = block.variable->strides;
      place.data = first_of(block, start);
    } else {
      const auto bytes = static_cast<std::size_t>(count_of(count, item, array.name) * item);
      place.strides = dense_strides(count, item, Order::row_major);
      place.copy.reset(new std::uint8_t[bytes == 0 ? 1 : bytes]);
      copy_selection(array, *overlaps, start, place.copy.get(), place.strides);
      place.data = place.copy.get();
    }
  }
  return shown(array.name, array.dtype, place.shape, place.strides, place.data);
}

void StepInHand::read(const GlobalArray& array, const Extents& start, const GivenArray& into,
                      std::uint8_t* to) {
  if (into.dtype != array.dtype) {
    throw Error(Status::unsupported, "'" + array.name + "' is of " + name_of(array.dtype) +
                                         "; what is to take it is of " + name_of(into.dtype));
  }
  const auto overlaps = overlaps_->find(array, start, into.shape);
  copy_selection(array, *overlaps, start, to, into.strides);
}

std::uint64_t StepInHand::nbytes() const {
  std::uint64_t bytes = 0;
  for (const auto& rank : ranks_) {
    for (const auto& variable : rank.variables) bytes += variable.nbytes;
  }
  return bytes;
}

}  // namespace dovetail::abi

namespace {

Extents extents_or(const std::int64_t* numbers, const GlobalArray& array,
                   const Extents& otherwise) {
  if (numbers == nullptr) return otherwise;
  return {numbers, numbers + array.shape.size()};
}

Extents origin_of(const GlobalArray& array) { return Extents(array.shape.size(), 0); }

}  // namespace

int dvt_step_index(dvt_step* step, int64_t* index) {
  return guarded([&] {
    auto& place = result(index, "index");
    place = static_cast<std::int64_t>(object_of<StepInHand>(step)->index);
  });
}

int dvt_step_time(dvt_step* step, double* seconds) {
  return guarded([&] {
    auto& place = result(seconds, "seconds");
    place = static_cast<double>(object_of<StepInHand>(step)->time_ns) * 1e-9;
  });
}

int dvt_step_attrs(dvt_step* step, const char** json) {
  return guarded([&] { result(json, "json") = object_of<StepInHand>(step)->attrs().c_str(); });
}

int dvt_step_count(dvt_step* step, int* count) {
  return guarded([&] {
    auto& place = result(count, "count");
    place = static_cast<int>(object_of<StepInHand>(step)->arrays().size());
  });
}

int dvt_step_array(dvt_step* step, int index, dvt_array* array) {
  return guarded([&] {
    auto& place = result(array, "array");
    const auto in_hand = object_of<StepInHand>(step);
    const auto& arrays = in_hand->arrays();
    if (index < 0 || static_cast<std::size_t>(index) >= arrays.size()) {
      refuse("there is no array " + std::to_string(index) + " of " + std::to_string(arrays.size()));
    }
    const auto& found = arrays[static_cast<std::size_t>(index)];
    const auto& block = found.blocks.front();
    const bool is_one = found.blocks.size() == 1 && block.variable->shape == found.shape;
    place = {};
    place.name = found.name.c_str();
    place.dtype = static_cast<std::int32_t>(found.dtype);
    place.rank = static_cast<std::int32_t>(found.shape.size());
    place.shape = found.shape.data();
    if (!is_one) return;
    place.data = const_cast<std::uint8_t*>(block.data);
    place.strides = block.variable->strides.data();
    place.order = block.variable->order == Order::row_major ? DVT_ROW_MAJOR : DVT_COLUMN_MAJOR;
  });
}

int dvt_step_view(dvt_step* step, const char* name, const int64_t* start, const int64_t* count,
                  dvt_array* array) {
  return guarded([&] {
    auto& place = result(array, "array");
    const auto in_hand = object_of<StepInHand>(step);
    const auto& found = in_hand->find(name == nullptr ? "value" : name);
    if ((start == nullptr) != (count == nullptr)) {
      throw Error(Status::coverage,
                  "'" + found.name + "': give both start and count, or neither for all of it");
    }
    place = in_hand->view(found, extents_or(start, found, origin_of(found)),
                          extents_or(count, found, found.shape));
  });
}

int dvt_step_read(dvt_step* step, const dvt_array* into, const int64_t* start) {
  return guarded([&] {
    const auto& target = result(into, "into");
    const auto in_hand = object_of<StepInHand>(step);
    const auto given = array_with_data(target);
    const auto& found = in_hand->find(given.name);
    if (given.shape.size() != found.shape.size()) {
      throw Error(Status::coverage,
                  "'" + found.name + "' has " + std::to_string(found.shape.size()) +
                      " axes; what is to take it has " + std::to_string(given.shape.size()));
    }
    in_hand->read(found, extents_or(start, found, origin_of(found)), given,
                  static_cast<std::uint8_t*>(target.data));
  });
}

int dvt_step_end(dvt_step* step) {
  return guarded([&] { object_of<StepInHand>(step)->end(); });
}

int dvt_step_close(dvt_step* step) {
  return guarded([&] {
    if (step != nullptr) take_object<StepInHand>(step)->end();
  });
}
