// Files that are filled, published by renaming, and recycled once nobody reads them any more.
//
// A block is a file under a private name in the `blocks` folder of a store, mapped for as long as
// this process may use it again. Publishing exchanges its name with that of the value it replaces,
// so that the replaced block keeps a private name and can be recycled. It is filled again only
// under an exclusive lease (F_SETLEASE), which *any* process that has the file open or mapped
// prevents, so that a stock reader is not disturbed either; where the system has no leases, under
// an exclusive lock, which every reader of ours prevents.
#pragma once

#include <sys/stat.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <list>
#include <memory>
#include <mutex>
#include <string>

#include "lifeline.hpp"
#include "memory.hpp"
#include "posix.hpp"

namespace dovetail {

struct Block {
  ~Block();

  Fd file;
  std::uint8_t* bytes = nullptr;
  std::size_t mapped = 0;  // whole pages
  std::size_t length = 0;  // of the file
  std::uint64_t inode = 0;
  std::weak_ptr<Memory> viewed;  // views that the writer kept of what it filled
  bool held = false;             // nobody else can open it, or lock it
  std::string name;              // private name; empty once published
};

// What the processes that share a store have allocated, in its control page.
struct Account {
  std::atomic<std::uint64_t> allocated;
  std::atomic<std::uint64_t> capacity;
  std::atomic<std::uint64_t> parked;  // blocks that deleters left for their writers
  // Some participant recycles by locks because it has no leases: readers must lock what they open.
  std::atomic<std::uint32_t> locks_needed;

  bool charge(std::uint64_t bytes);
  void credit(std::uint64_t bytes);
  void unpark();
};

// Finds room when there is none: removes what can be spared. Called without any lock held.
class Spares {
 public:
  virtual ~Spares() = default;
  virtual void reclaim() = 0;
  virtual std::string explain_full(std::uint64_t needed) = 0;
};

class BlockPool {
 public:
  // `home` holds the folders blocks, parked and lifelines.
  // Without `locks` (a network file system) nobody's life is known, and nothing is swept.
  BlockPool(int home, Account& account, Spares& spares, bool recycle, bool locks);
  ~BlockPool();

  // A block of at least `size` bytes whose file is exactly so long, writable by nobody else.
  std::shared_ptr<Block> acquire(std::size_t size);
  // Gives up the exclusive hold: to be called when the block is filled, before it is published.
  void release(Block& block);
  // Publishes a filled block as `name` in `directory`. The block may then be found again by
  // acquire(), once it is replaced and unread; unless `forget` is set.
  void publish(const std::shared_ptr<Block>& block, int directory, const std::string& name,
               bool forget);
  // Drops a block that was never published.
  void discard(const std::shared_ptr<Block>& block);
  // Takes a published file out of `directory`; false if there is none.
  bool withdraw(int directory, const std::string& name);
  // Unlinks what this process keeps for recycling.
  void drop_spare_blocks();
  // Unlinks the blocks of processes that died.
  void sweep();
  // Unlinks the blocks that are parked for recycling.
  void drop_parked_blocks();
  // A private name for a temporary file of ours.
  std::string new_name();

  std::atomic<std::uint64_t> recycled{0};

 private:
  bool claim(Block& block);
  static bool is_intact(const Block& block);
  std::shared_ptr<Block> take_spare(std::size_t pages);
  std::shared_ptr<Block> take_parked(std::size_t pages);
  std::shared_ptr<Block> create(std::size_t pages);
  bool try_allocate(Block& block, std::size_t bytes);
  void unlink_block(const std::string& name, std::uint64_t bytes);
  void keep_or_unlink(const std::string& name, const struct stat& status);
  std::shared_ptr<Block> published_block(std::uint64_t inode);

  Fd blocks_, parked_, lifelines_;
  Account& account_;
  Spares& spares_;
  const bool recycle_;
  const bool locks_;
  std::string owner_;  // begins the names of our blocks
  bool leases_ = false;
  std::unique_ptr<Lifeline> lifeline_;
  std::atomic<std::uint64_t> counter_{0};
  std::mutex mutex_;
  std::deque<std::shared_ptr<Block>> spare_;     // ours under private names, oldest first
  std::list<std::shared_ptr<Block>> published_;  // ours, not yet replaced, newest first
  unsigned published_count_ = 0;
};

}  // namespace dovetail
