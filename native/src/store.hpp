// The local Store: a folder of values, one file each. See blocks.hpp for how space is recycled.
//
//   <folder>/<stem of key>.safetensors    the values
//   <folder>/.dovetail/control            doorbells, clock and account, mapped by all
//   <folder>/.dovetail/blocks             private names: being filled, or to be recycled
//   <folder>/.dovetail/parked             deleted by a consumer, for its writer to recycle
//   <folder>/.dovetail/lifelines          one locked file for each living participant
//   <folder>/.dovetail/lists/<name>/<n>   a symbolic link to the stem of the n-th item
//   <folder>/.dovetail/names/<hash>       the keys that are too long for a file name
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "bell.hpp"
#include "blocks.hpp"
#include "header_cache.hpp"
#include "memory.hpp"
#include "safetensors.hpp"
#include "seen_names.hpp"

namespace dovetail {

struct StoreOptions {
  std::string path;
  std::string label;           // how messages name the store
  std::uint64_t capacity = 0;  // 0: what was set before, else default_capacity()
  bool recycle = true;
  bool poll = false;        // wait by polling, as on a network file system
  bool own_folder = false;  // destroy() removes the folder itself
};

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

struct ForeignFile {
  std::string name;
  std::string reason;
};

class Store;

// Room for a value, filled in place.
class Reservation {
 public:
  ~Reservation();
  const std::shared_ptr<Memory>& memory() const { return memory_; }
  // Where each array lies: its offset from the start of the value, and its bytes.
  std::vector<std::pair<std::uint64_t, std::uint64_t>> extents() const { return extents_; }
  // Publishes; returns the version. Views that are still alive keep what they show: the block is
  // not filled again before they are gone. If they may still be `written_to`, they are cut off.
  std::string commit(bool written_to);
  void abort();

 private:
  friend class Store;
  explicit Reservation(Store& store) : store_(store) {}

  Store& store_;
  std::string stem_;
  Layout layout_;
  std::vector<std::pair<std::uint64_t, std::uint64_t>> extents_;
  std::shared_ptr<Block> block_;
  std::shared_ptr<Memory> memory_;
  std::uint64_t generation_ = 0;
};

class Store : private Spares {
 public:
  explicit Store(StoreOptions options);
  ~Store() override;

  std::string put(const std::string& key, std::vector<Piece> pieces, const Metadata& metadata);
  std::unique_ptr<Reservation> reserve(const std::string& key, std::vector<Piece> pieces,
                                       const Metadata& metadata);
  Value get(const std::string& key);
  Value stat(const std::string& key);
  Value wait(const std::string& key, double timeout, const std::optional<std::string>& newer_than,
             const Interrupt& interrupt);
  bool exists(const std::string& key);
  void remove(const std::string& key);
  void rename(const std::string& key, const std::string& new_key);
  std::vector<std::string> keys(const std::string& prefix);
  // Files beside the values that are no values, or whose names no key has.
  std::vector<ForeignFile> foreign_files();

  std::uint64_t append(const std::string& list, const std::string& key);
  std::vector<std::string> items(const std::string& list, std::uint64_t start);
  std::vector<std::string> wait_items(const std::string& list, std::uint64_t count,
                                      std::uint64_t start, double timeout,
                                      const Interrupt& interrupt);
  void remove_list(const std::string& list);

  void flush();
  void destroy();
  std::uint64_t bytes_held();
  std::uint64_t capacity();
  std::uint64_t blocks_recycled();
  // Values are filled and read where they lie; elsewhere they are written and copied.
  bool in_place() const {
    return !options_.poll && (kind_ == FileSystem::memory || kind_ == FileSystem::local);
  }
  const StoreCounters& counters() const { return counters_; }
  const StoreOptions& options() const { return options_; }

 private:
  friend class Reservation;
  struct Control;

  void for_each_own_value(
      const std::function<void(const std::string& name, std::uint64_t bytes)>& visit);
  std::uint64_t own_bytes();
  void reclaim() override;
  std::string explain_full(std::uint64_t needed) override;

  // Where appending to a list begins to look for its end.
  struct ListEnds {
    std::mutex mutex;
    std::unordered_map<std::string, std::uint64_t> positions;
  };

  void leave_to_parent();
  BlockPool& pool();  // makes what writing and waiting need; renewed after a fork
  void map_control();
  std::uint64_t next_version();
  std::string publish(const std::shared_ptr<Block>& block, const std::string& stem, bool cut_off);
  using Fill = std::function<void(int file, const std::string& version)>;
  std::string write_plain(std::size_t size, const std::string& stem, const Fill& fill);
  std::string stem_for_writing(const std::string& key);
  std::string stem_for_reading(const std::string& key);
  std::optional<std::string> key_behind(const std::string& stem);
  std::optional<Value> open_value(const std::string& key, bool header_only);
  // Where the file can be held while it is read; and where it cannot.
  std::optional<Value> open_held(const std::string& name, const std::string& key, bool header_only);
  std::optional<Value> open_served(const std::string& name, const std::string& key,
                                   bool header_only);
  Value load(Fd file, const struct stat& status, const std::string& key, bool header_only);
  bool has_file(const std::string& name);
  bool is_named(const std::string& name);
  bool comes_back(const std::string& name);
  void ring(const std::string& stem);
  bool wait_until(const std::string& stem, double timeout, const Interrupt& interrupt,
                  const std::function<bool()>& ready);
  Bell& bell_of(const std::string& stem);
  std::string list_folder(const std::string& list);
  [[noreturn]] void throw_not_found(const std::string& key);

  StoreOptions options_;
  Fd folder_;
  FileSystem kind_;
  std::atomic<bool> ready_{false};
  std::uint64_t generation_ = 0;
  Fd home_;
  Control* control_ = nullptr;
  bool control_shared_ = false;
  std::unique_ptr<BlockPool> pool_;
  std::unique_ptr<ListEnds> list_ends_;
  HeaderCache headers_;
  SeenNames seen_;  // where values are polled
  StoreCounters counters_;
};

// Whether what lies at a path, which need not be there yet, can be filled and read in place.
bool fills_in_place(const std::string& path);
// Bytes of blocks in a store's folder whose owners died; removed if so asked.
std::uint64_t dead_blocks(const std::string& path, bool remove);

}  // namespace dovetail
