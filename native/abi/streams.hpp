// What the handles of streams and steps stand for.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <tuple>
#include <vector>

#include "assembly.hpp"
#include "dovetail/dovetail.h"
#include "handles.hpp"
#include "stream_reader.hpp"
#include "stream_writer.hpp"

namespace dovetail::abi {

// A stream of the local engine that lies in a ring.
struct StreamPlace {
  std::string folder, url;
  std::uint64_t capacity;
};
// Throws Error(Status::unavailable) for a stream that is kept over a store.
StreamPlace stream_place(const std::string& url);

struct OpenWriter {
  static constexpr Kind kind = Kind::writer;
  using Handle = dvt_writer;

  std::mutex mutex;
  std::string url;
  std::unique_ptr<StreamWriter> core;
  Metadata metadata;         // of the step under construction
  std::uint64_t nbytes = 0;  // put into it
  std::int64_t began_ns = 0, waited_before_ns = 0;
  std::int64_t ns_in_calls = 0;
};

// Memory that stays readable.
struct Lease {
  static constexpr Kind kind = Kind::lease;
  using Handle = dvt_lease;

  explicit Lease(std::shared_ptr<Memory> held) : memory(std::move(held)) {
    memory->exports.fetch_add(1);
  }
  ~Lease() { memory->exports.fetch_sub(1); }
  const std::shared_ptr<Memory> memory;
};

struct OpenReader;

struct StepInHand {
  static constexpr Kind kind = Kind::step;
  using Handle = dvt_step;

  StepInHand(Step taken, std::weak_ptr<OpenReader> reader, std::shared_ptr<OverlapCache> overlaps);
  ~StepInHand() { end(); }
  void end();
  const std::string& attrs();
  const std::vector<GlobalArray>& arrays();
  const GlobalArray& find(const std::string& name);
  // A selection as a view, or as a copy that this step keeps.
  dvt_array view(const GlobalArray& array, const Extents& start, const Extents& count);
  void read(const GlobalArray& array, const Extents& start, const GivenArray& into,
            std::uint8_t* to);
  std::uint64_t nbytes() const;

  const std::uint64_t index;
  const std::int64_t time_ns;
  std::atomic<bool> is_ended{false};  // so that nobody waits for a reader that waits

 private:
  struct Shown {
    Extents shape, strides;
    const std::uint8_t* data = nullptr;
    std::unique_ptr<std::uint8_t[]> copy;
  };

  std::mutex mutex_;
  std::weak_ptr<OpenReader> reader_;
  const std::shared_ptr<OverlapCache> overlaps_;
  std::vector<std::shared_ptr<const Header>> headers_;
  std::vector<RankPart> ranks_;
  bool has_arrays_ = false, has_attrs_ = false;
  std::vector<GlobalArray> arrays_;
  std::string attrs_;
  std::map<std::tuple<const GlobalArray*, Extents, Extents>, Shown> shown_;
};

struct OpenReader {
  static constexpr Kind kind = Kind::reader;
  using Handle = dvt_reader;

  std::mutex mutex;
  std::string url;
  double timeout = 60;
  std::unique_ptr<StreamReader> core;
  StepInHand* current = nullptr;  // the step that is not ended yet; a step says when it goes
  std::shared_ptr<OverlapCache> overlaps = std::make_shared<OverlapCache>();
  bool is_finished = false;
  std::int64_t ns_in_calls = 0;
};

struct OpenTail {
  static constexpr Kind kind = Kind::tail;
  using Handle = dvt_tail;

  explicit OpenTail(const StreamPlace& place) : core(place.folder, place.url) {}
  std::mutex mutex;
  StreamTail core;
  std::shared_ptr<OverlapCache> overlaps = std::make_shared<OverlapCache>();
};

dvt_stream_statistics statistics_of(const StreamCounters& counters, std::int64_t ns_in_calls);

// Adds the time that a scope takes.
class InCalls {
 public:
  explicit InCalls(std::int64_t& total);
  ~InCalls();

 private:
  std::int64_t& total_;
  const std::int64_t started_;
};

}  // namespace dovetail::abi
