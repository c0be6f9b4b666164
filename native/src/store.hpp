// What a store promises, whatever keeps its values: a folder (local_store.hpp), or a server
// (redis_store.hpp). Usable from many threads.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bell.hpp"
#include "memory.hpp"
#include "safetensors.hpp"

namespace dovetail {

struct Value {
  std::shared_ptr<Memory> memory;  // nothing if only the header was asked for
  std::shared_ptr<const Header> header;
  std::string version;
  std::uint64_t nbytes = 0;
  double time = 0;    // seconds since the epoch
  bool ours = false;  // written here, under this library's care: not a foreign file, nor a copy
};

struct StoreCounters {
  std::atomic<std::uint64_t> puts{0}, gets{0}, bytes_put{0}, bytes_got{0};
  std::atomic<std::int64_t> ns_put{0}, ns_got{0}, ns_waited{0};
};

// Room for a value, filled in place; given up unless it is committed.
class Reservation {
 public:
  virtual ~Reservation() = default;
  const std::shared_ptr<Memory>& memory() const { return memory_; }
  // Where each array lies: its offset from the start of the value, and its bytes.
  const std::vector<std::pair<std::uint64_t, std::uint64_t>>& extents() const { return extents_; }
  // Publishes; returns the version. `written_to`: somebody may still write there, which must harm
  // nobody.
  virtual std::string commit(bool written_to) = 0;
  virtual void abort() = 0;

 protected:
  std::shared_ptr<Memory> memory_;  // nothing once it is published or given up
  std::vector<std::pair<std::uint64_t, std::uint64_t>> extents_;
};

class Store {
 public:
  virtual ~Store() = default;

  // Publishes a value at once, replacing what was there; returns its version.
  virtual std::string put(const std::string& key, std::vector<Piece> pieces,
                          const Metadata& metadata) = 0;
  virtual std::unique_ptr<Reservation> reserve(const std::string& key, std::vector<Piece> pieces,
                                               const Metadata& metadata) = 0;
  // Throw Error(Status::key_not_found), or Error(Status::corrupt) for what is no value.
  virtual Value get(const std::string& key) = 0;
  virtual Value stat(const std::string& key) = 0;
  virtual Value wait(const std::string& key, double timeout,
                     const std::optional<std::string>& newer_than, const Interrupt& interrupt) = 0;
  virtual bool exists(const std::string& key) = 0;
  virtual void remove(const std::string& key) = 0;
  virtual void rename(const std::string& key, const std::string& new_key) = 0;
  virtual std::vector<std::string> keys(const std::string& prefix) = 0;  // sorted

  // Each item is kept once, in order of arrival; append() returns its position.
  virtual std::uint64_t append(const std::string& list, const std::string& key) = 0;
  virtual std::vector<std::string> items(const std::string& list, std::uint64_t start) = 0;
  virtual std::vector<std::string> wait_items(const std::string& list, std::uint64_t count,
                                              std::uint64_t start, double timeout,
                                              const Interrupt& interrupt) = 0;
  virtual void remove_list(const std::string& list) = 0;

  virtual void flush() = 0;
  virtual void destroy() = 0;   // removes everything that is ours
  virtual void disconnect() {}  // gives back what can be opened again; values in hand stay valid
  virtual std::uint64_t bytes_held() = 0;
  virtual std::uint64_t capacity() = 0;
  virtual std::uint64_t blocks_recycled() = 0;
  const StoreCounters& counters() const { return counters_; }

 protected:
  StoreCounters counters_;
};

}  // namespace dovetail
