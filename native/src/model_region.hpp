// The memory that a rank shares with the model server of its node: the rank's own region, in which
// it describes a call and lays its inputs down and finds its outputs, and the board of the server.
// Both have no name and end with the processes; and neither can be cut short under the other side.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>

#include "bell.hpp"
#include "model_checks.hpp"
#include "posix.hpp"

namespace dovetail {

constexpr std::size_t most_call_arrays = 32;
constexpr std::size_t region_alignment = 64;
inline std::uint64_t aligned(std::uint64_t bytes) {
  return (bytes + region_alignment - 1) / region_alignment * region_alignment;
}

class SharedBytes {
 public:
  SharedBytes() = default;
  // New ones, all of them allocated. Throws Error(Status::full).
  explicit SharedBytes(std::size_t size);
  // Those behind a descriptor that another process sent. Throws Error(Status::corrupt) if it could
  // cut them short.
  explicit SharedBytes(Fd file);
  SharedBytes(SharedBytes&& other) noexcept;
  SharedBytes& operator=(SharedBytes&& other) noexcept;
  ~SharedBytes();

  std::uint8_t* data() const { return bytes_; }
  std::size_t size() const { return size_; }
  int file() const { return file_.get(); }

 private:
  void map();
  Fd file_;
  std::uint8_t* bytes_ = nullptr;
  std::size_t size_ = 0;
};

struct RegionArray {
  std::int32_t dtype, rank;
  std::uint64_t offset;
  std::int64_t shape[most_model_axes];
};

enum class CallState : std::uint32_t { idle, asked, answered };

// At the beginning of a region. The rank writes all of it but `answered` until it asks; the server
// from then on until it has answered.
struct CallHeader {
  Bell answered;
  std::atomic<CallState> state;
  std::uint32_t input_count, output_count;
  std::uint64_t weights;  // a number that the server gave; 0: those exported
  std::uint64_t room;     // where outputs may begin
  // The answer.
  std::uint32_t failed;    // 1: `status`, `system_error` and `text` say why
  std::uint32_t together;  // how many ranks were answered by one run of the model
  std::int32_t status, system_error;
  std::uint64_t needed;  // not 0: the outputs need a region of so many bytes
  char text[1024];
  RegionArray inputs[most_call_arrays], outputs[most_call_arrays];
};
static_assert(std::atomic<CallState>::is_always_lock_free);

class CallRegion {
 public:
  CallRegion() = default;
  explicit CallRegion(SharedBytes bytes);  // throws Error(Status::corrupt) if there are too few
  static std::uint64_t first_byte() { return aligned(sizeof(CallHeader)); }

  CallHeader& header() const { return *reinterpret_cast<CallHeader*>(bytes_.data()); }
  const SharedBytes& bytes() const { return bytes_; }
  // An array as it is described there, once; `shape` is filled. Throws Error(Status::corrupt) if it
  // does not lie in the region.
  ModelArray array(const RegionArray& described, std::int64_t* shape) const;

 private:
  SharedBytes bytes_;
};

// Of the server, which all its ranks see.
struct ServerBoard {
  Bell asked;
  std::atomic<std::uint32_t> ranks;  // attached now
  std::atomic<std::uint64_t> runs;   // of the model, since the server began
};

}  // namespace dovetail
