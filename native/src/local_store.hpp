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
#include <string>
#include <unordered_map>
#include <vector>

#include "bell.hpp"
#include "blocks.hpp"
#include "header_cache.hpp"
#include "seen_names.hpp"
#include "store.hpp"

namespace dovetail {

struct LocalStoreOptions {
  std::string path;
  std::string label;           // how messages name the store
  std::uint64_t capacity = 0;  // 0: what was set before, else default_capacity()
  bool recycle = true;
  bool poll = false;        // wait by polling, as on a network file system
  bool own_folder = false;  // destroy() removes the folder itself
};

struct ForeignFile {
  std::string name;
  std::string reason;
};

class LocalStore;

// Views of it that are still alive when it is published keep what they show: the block is not
// filled again before they are gone. If they may still be written to, they are cut off.
class LocalReservation final : public Reservation {
 public:
  ~LocalReservation() override;
  std::string commit(bool written_to) override;
  void abort() override;

 private:
  friend class LocalStore;
  explicit LocalReservation(LocalStore& store) : store_(store) {}

  LocalStore& store_;
  std::string stem_;
  Layout layout_;
  std::shared_ptr<Block> block_;
  std::uint64_t generation_ = 0;
};

class LocalStore final : public Store, private Spares {
 public:
  explicit LocalStore(LocalStoreOptions options);
  ~LocalStore() override;

  std::string put(const std::string& key, std::vector<Piece> pieces,
                  const Metadata& metadata) override;
  std::unique_ptr<Reservation> reserve(const std::string& key, std::vector<Piece> pieces,
                                       const Metadata& metadata) override;
  Value get(const std::string& key) override;
  Value stat(const std::string& key) override;
  Value wait(const std::string& key, double timeout, const std::optional<std::string>& newer_than,
             const Interrupt& interrupt) override;
  bool exists(const std::string& key) override;
  void remove(const std::string& key) override;
  void rename(const std::string& key, const std::string& new_key) override;
  std::vector<std::string> keys(const std::string& prefix) override;
  // Files beside the values that are no values, or whose names no key has.
  std::vector<ForeignFile> foreign_files();

  std::uint64_t append(const std::string& list, const std::string& key) override;
  std::vector<std::string> items(const std::string& list, std::uint64_t start) override;
  std::vector<std::string> wait_items(const std::string& list, std::uint64_t count,
                                      std::uint64_t start, double timeout,
                                      const Interrupt& interrupt) override;
  void remove_list(const std::string& list) override;

  void flush() override;
  void destroy() override;
  std::uint64_t bytes_held() override;
  std::uint64_t capacity() override;
  std::uint64_t blocks_recycled() override;
  // Values are filled and read where they lie; elsewhere they are written and copied.
  bool in_place() const {
    return !options_.poll && (kind_ == FileSystem::memory || kind_ == FileSystem::local);
  }
  const LocalStoreOptions& options() const { return options_; }

 private:
  friend class LocalReservation;
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

  LocalStoreOptions options_;
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
};

// Whether what lies at a path, which need not be there yet, can be filled and read in place.
bool fills_in_place(const std::string& path);
// Bytes of blocks in a store's folder whose owners died; removed if so asked.
std::uint64_t dead_blocks(const std::string& path, bool remove);

}  // namespace dovetail
