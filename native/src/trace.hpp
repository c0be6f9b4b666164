// Trace events of this process: who moved what, when, and how long it waited.
//
// A recording is one append-only file per process, mapped and divided into slots of 64 bytes.
// Slot 0 is the header; an event takes one slot, and more only where its name is long:
//
//   header        magic "DVTLTRCE" | u32 version | u32 slot bytes | u64 pid | i64 started, ns |
//                 char[32] host
//   event         u8 kind (1..127) | u8 0 | u16 name bytes | u32 thread | i64 start, ns |
//                 i64 duration, ns | u64 bytes | u64 wait, ns | char[24] name
//   continuation  u8 255 | u8 0 | u16 0 | u32 0 | char[56] name, continued
//   empty         u8 0: never written, or its writer died before it was complete
//
// The kind is stored last. So whatever kills the process, the file holds every event that was
// recorded, and no half of one. Space is allocated before it is touched: a full disk ends the
// recording, and never the process. A forked child records into a file of its own.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace dovetail::trace {

constexpr std::uint64_t slot_bytes = 64;
constexpr std::uint64_t longest_name = 24 + 18 * 56;  // bytes; longer names are cut
constexpr std::uint64_t default_limit = std::uint64_t{1} << 30;

enum class Outcome {
  recorded,
  off,           // nothing is being recorded
  just_stopped,  // the recording ended with this call: reported once, see stop_reason()
};

struct Event {
  std::uint8_t kind;  // 1 to 127; their meanings belong to the caller
  std::string_view name;
  std::int64_t start_ns;  // since the epoch
  std::int64_t end_ns;
  std::uint64_t nbytes;
  std::uint64_t wait_ns;
};

// Records into a new file in `directory`, of at most `limit` bytes. Replaces a recording that
// is under way. Returns the path of the file. Throws Error.
std::string start(const std::string& directory, std::uint64_t limit = default_limit);

// Ends the recording and cuts the file to its events; without any, it is removed.
void stop() noexcept;

// Whether events are being recorded: one relaxed load, for call sites.
bool recording() noexcept;

// From any thread, at any time; never throws, never blocks on another process.
Outcome record(const Event& event) noexcept;

// Why the last recording ended by itself; empty if it did not.
std::string stop_reason();

}  // namespace dovetail::trace
