#include "blocks.hpp"

#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "error.hpp"
#include "memory.hpp"

#ifndef F_SETSIG
#define F_SETSIG 10
#endif
#ifndef F_SETLEASE
#define F_SETLEASE 1024
#endif

namespace dovetail {
namespace {

constexpr std::size_t most_spare = 16;
constexpr std::size_t most_published = 128;
constexpr std::uint64_t most_parked = 64;
constexpr int attempts_at_parked = 8;

int exchange_names(int from_directory, const char* from, int to_directory, const char* to,
                   unsigned flags) {
  return static_cast<int>(syscall(SYS_renameat2, from_directory, from, to_directory, to, flags));
}

// Nobody else has the file open if the lease is granted, and nobody can open it while it is held.
// Whoever tries meanwhile makes the kernel send SIGURG to the holder, which is ignored by default;
// SIGIO, which it would send unasked, ends a process. The end of a lease resets which signal it is.
bool take_lease(int file) {
  return fcntl(file, F_SETSIG, SIGURG) == 0 && fcntl(file, F_SETLEASE, F_WRLCK) == 0;
}
void end_lease(int file) { fcntl(file, F_SETLEASE, F_UNLCK); }

bool leases_work_in(int directory, const std::string& name) {
  const Fd file(openat(directory, name.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
  if (!file) return false;
  const bool granted = take_lease(file.get());
  end_lease(file.get());
  unlinkat(directory, name.c_str(), 0);
  return granted;
}

}  // namespace

bool Account::charge(std::uint64_t bytes) {
  auto before = allocated.load();
  do {
    const auto most = capacity.load();
    if (bytes > most || before > most - bytes) return false;
  } while (!allocated.compare_exchange_weak(before, before + bytes));
  return true;
}

// A recount may have forgotten what is given back here: never below nothing.
void Account::credit(std::uint64_t bytes) {
  auto before = allocated.load();
  while (!allocated.compare_exchange_weak(before, before > bytes ? before - bytes : 0)) {
  }
}

void Account::unpark() {
  auto before = parked.load();
  while (before != 0 && !parked.compare_exchange_weak(before, before - 1)) {
  }
}

Block::~Block() {
  if (bytes != nullptr) unmap(bytes, mapped);
}

BlockPool::BlockPool(int home, Account& account, Spares& spares, bool recycle, bool locks)
    : account_(account), spares_(spares), recycle_(recycle), locks_(locks), owner_(random_name()) {
  const auto open_at = [&](const char* name) {
    Fd folder(openat(home, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder) throw_system_error("cannot open the folder", name, errno);
    return folder;
  };
  blocks_ = open_at("blocks");
  parked_ = open_at("parked");
  lifelines_ = open_at("lifelines");
  if (locks_) {
    lifeline_ = std::make_unique<Lifeline>(lifelines_.get());
    owner_ = lifeline_->name();
  }
  leases_ = leases_work_in(blocks_.get(), new_name());
  if (recycle_ && !leases_) account_.locks_needed.store(1);
}

BlockPool::~BlockPool() { drop_spare_blocks(); }

std::string BlockPool::new_name() { return owner_ + "." + std::to_string(counter_.fetch_add(1)); }

std::shared_ptr<Block> BlockPool::acquire(std::size_t size) {
  const auto pages = whole_pages(size);
  auto block = take_spare(pages);
  if (!block && account_.parked.load(std::memory_order_relaxed) != 0) block = take_parked(pages);
  if (block) {
    recycled.fetch_add(1, std::memory_order_relaxed);
  } else {
    block = create(pages);
  }
  if (block->length != size) {
    if (ftruncate(block->file.get(), static_cast<off_t>(size)) != 0) {
      const int error = errno;
      discard(block);
      throw_system_error("cannot set the length of", "a block", error);
    }
    block->length = size;
  }
  return block;
}

bool BlockPool::claim(Block& block) {
  if (const auto memory = block.viewed.lock(); memory && memory->exports.load() != 0) return false;
  // Readers of ours hold a shared lock; where there are no leases others cannot be noticed.
  const int file = block.file.get();
  block.held = leases_ ? take_lease(file) : flock(file, LOCK_EX | LOCK_NB) == 0;
  return block.held;
}

// Whether a claimed block is as this process left it: somebody may have written to the file.
bool BlockPool::is_intact(const Block& block) {
  struct stat status{};
  return fstat(block.file.get(), &status) == 0 &&
         status.st_size == static_cast<off_t>(block.length) &&
         static_cast<std::uint64_t>(status.st_blocks) * 512 >= block.mapped;
}

void BlockPool::release(Block& block) {
  if (!block.held) return;
  block.held = false;
  leases_ ? end_lease(block.file.get()) : (void)flock(block.file.get(), LOCK_UN);
}

std::shared_ptr<Block> BlockPool::take_spare(std::size_t pages) {
  const std::lock_guard lock(mutex_);
  for (auto it = spare_.begin(); it != spare_.end(); ++it) {
    if ((*it)->mapped != pages || !claim(**it)) continue;
    auto block = *it;
    it = spare_.erase(it);
    if (is_intact(*block)) return block;
    discard(block);
    if (it == spare_.end()) break;
  }
  return nullptr;
}

// A consumer that deletes a value parks its file under its inode number, so that the writer, which
// has it mapped, can fill it again.
std::shared_ptr<Block> BlockPool::take_parked(std::size_t pages) {
  const std::lock_guard lock(mutex_);
  int attempts = 0;
  for (auto it = published_.end(); it != published_.begin() && attempts < attempts_at_parked;) {
    --it;  // the oldest first
    if ((*it)->mapped != pages) continue;
    ++attempts;
    auto block = *it;
    auto name = new_name();
    if (renameat(parked_.get(), std::to_string(block->inode).c_str(), blocks_.get(),
                 name.c_str()) != 0) {
      continue;
    }
    account_.unpark();
    block->name = std::move(name);
    it = published_.erase(it);
    if (!claim(*block)) {
      spare_.push_back(block);
    } else if (is_intact(*block)) {
      return block;
    } else {
      discard(block);
    }
  }
  return nullptr;
}

std::shared_ptr<Block> BlockPool::create(std::size_t pages) {
  auto block = std::make_shared<Block>();
  block->name = new_name();
  block->file =
      Fd(openat(blocks_.get(), block->name.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
  if (!block->file) {
    const int error = errno;
    if (error == ENOSPC || error == EDQUOT) {
      throw Error(Status::full, spares_.explain_full(pages), error);
    }
    if (error == ENOENT) {
      throw Error(Status::closed,
                  "the store was destroyed, by this or another process; open it again");
    }
    throw_system_error("cannot create", "a block", error);
  }
  if (!try_allocate(*block, pages)) {
    drop_spare_blocks();
    spares_.reclaim();
    if (!try_allocate(*block, pages)) {
      unlinkat(blocks_.get(), block->name.c_str(), 0);
      throw Error(Status::full, spares_.explain_full(pages), ENOSPC);
    }
  }
  block->mapped = pages;
  try {
    block->bytes = map_shared(block->file.get(), pages, pages > page_size);
  } catch (...) {
    unlink_block(block->name, pages);
    throw;
  }
  struct stat status{};
  fstat(block->file.get(), &status);
  block->inode = status.st_ino;
  return block;
}

// Space is allocated before it is touched, so that a full file system is an error and no signal.
bool BlockPool::try_allocate(Block& block, std::size_t bytes) {
  if (!account_.charge(bytes)) return false;
  const int error = allocate_space(block.file.get(), bytes);
  if (error == 0) return true;
  account_.credit(bytes);
  if (error == ENOSPC || error == EDQUOT) return false;
  unlinkat(blocks_.get(), block.name.c_str(), 0);
  throw_system_error("cannot allocate", readable_bytes(bytes), error);
}

void BlockPool::unlink_block(const std::string& name, std::uint64_t bytes) {
  if (unlinkat(blocks_.get(), name.c_str(), 0) == 0) account_.credit(bytes);
}

void BlockPool::discard(const std::shared_ptr<Block>& block) {
  release(*block);
  if (block->name.empty()) return;
  unlink_block(block->name, block->mapped);
  block->name.clear();
}

void BlockPool::publish(const std::shared_ptr<Block>& block, int directory, const std::string& name,
                        bool forget) {
  const auto own = block->name;
  for (;;) {
    if (exchange_names(blocks_.get(), own.c_str(), directory, name.c_str(), RENAME_EXCHANGE) == 0) {
      struct stat replaced{};
      const bool there = fstatat(blocks_.get(), own.c_str(), &replaced, AT_SYMLINK_NOFOLLOW) == 0;
      if (there && S_ISDIR(replaced.st_mode)) {  // somebody's: it goes back
        exchange_names(blocks_.get(), own.c_str(), directory, name.c_str(), RENAME_EXCHANGE);
        discard(block);
        throw Error(Status::system,
                    "there is a folder named " + name + " where the value should go", EISDIR);
      }
      block->name.clear();
      if (there) keep_or_unlink(own, replaced);
      break;
    }
    if (errno == ENOENT && exchange_names(blocks_.get(), own.c_str(), directory, name.c_str(),
                                          RENAME_NOREPLACE) == 0) {
      block->name.clear();
      break;
    }
    if (errno == EEXIST) continue;
    const int error = errno;
    if (error == EINVAL || error == ENOSYS) {  // the file system cannot exchange names
      if (renameat(blocks_.get(), own.c_str(), directory, name.c_str()) == 0) {
        block->name.clear();
        forget = true;
        break;
      }
    }
    discard(block);
    if (error == ENOENT) {
      throw Error(Status::closed,
                  "the store was destroyed, by this or another process; open it again");
    }
    throw_system_error("cannot publish", name, error);
  }
  if (forget || !recycle_) return;
  const std::lock_guard lock(mutex_);
  published_.push_front(block);
  // Now and then: drop the mapping of one that was deleted, and of the oldest when there are too
  // many.
  if (++published_count_ % 8 != 0 && published_.size() <= most_published) return;
  if (published_.size() > most_published) published_.pop_back();
  struct stat status{};
  if (fstat(published_.back()->file.get(), &status) == 0 && status.st_nlink == 0) {
    published_.pop_back();
  } else if (published_.size() > 2) {
    published_.splice(std::next(published_.begin()), published_, std::prev(published_.end()));
  }
}

std::shared_ptr<Block> BlockPool::published_block(std::uint64_t inode) {
  for (auto it = published_.begin(); it != published_.end(); ++it) {
    if ((*it)->inode != inode) continue;
    auto block = *it;
    published_.erase(it);
    return block;
  }
  return nullptr;
}

// What lies in the blocks folder under `name` was a value until now. It is kept if this process
// made it and nobody gave it another name.
void BlockPool::keep_or_unlink(const std::string& name, const struct stat& status) {
  const auto bytes = static_cast<std::uint64_t>(status.st_blocks) * 512;
  std::shared_ptr<Block> surplus;
  {
    const std::lock_guard lock(mutex_);
    auto block = recycle_ && status.st_nlink == 1 ? published_block(status.st_ino) : nullptr;
    if (block) {
      block->name = name;
      spare_.push_back(std::move(block));
      if (spare_.size() <= most_spare) return;
      surplus = spare_.front();
      spare_.pop_front();
    }
  }
  if (surplus) {
    unlink_block(surplus->name, surplus->mapped);
  } else {
    unlink_block(name, bytes);
  }
}

bool BlockPool::withdraw(int directory, const std::string& name) {
  struct stat status{};
  if (fstatat(directory, name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return false;
    throw_system_error("cannot examine", name, errno);
  }
  if (S_ISDIR(status.st_mode)) {
    throw Error(Status::system, name + " is a folder, and no value", EISDIR);
  }
  const auto own = new_name();
  if (renameat(directory, name.c_str(), blocks_.get(), own.c_str()) != 0) {
    if (errno == ENOENT) return false;
    throw_system_error("cannot delete", name, errno);
  }
  struct stat now{};  // another value may have come under the name before it was moved
  if (fstatat(blocks_.get(), own.c_str(), &now, AT_SYMLINK_NOFOLLOW) != 0) return true;
  bool made_here = false;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& block : published_) made_here = made_here || block->inode == now.st_ino;
  }
  const auto bytes = static_cast<std::uint64_t>(now.st_blocks) * 512;
  // Another process made it, and may want to fill it again.
  if (recycle_ && !made_here && now.st_nlink == 1 && account_.parked.load() < most_parked &&
      bytes < account_.capacity.load() / 16) {
    if (exchange_names(blocks_.get(), own.c_str(), parked_.get(),
                       std::to_string(now.st_ino).c_str(), RENAME_NOREPLACE) == 0) {
      account_.parked.fetch_add(1);
      return true;
    }
  }
  keep_or_unlink(own, now);
  return true;
}

void BlockPool::drop_spare_blocks() {
  std::deque<std::shared_ptr<Block>> spare;
  {
    const std::lock_guard lock(mutex_);
    spare.swap(spare_);
  }
  for (const auto& block : spare) unlink_block(block->name, block->mapped);
}

void BlockPool::drop_parked_blocks() {
  for (const auto& name : list_directory(parked_.get())) {
    unlinkat(parked_.get(), name.c_str(), 0);
  }
  account_.parked.store(0);
}

void BlockPool::sweep() {
  if (!locks_) return;  // who is alive cannot be known here
  std::vector<std::string> dead, alive;
  for (const auto& name : list_directory(blocks_.get())) {
    const auto owner = name.substr(0, name.find('.'));
    if (std::find(alive.begin(), alive.end(), owner) != alive.end()) continue;
    if (std::find(dead.begin(), dead.end(), owner) == dead.end()) {
      if (!is_dead(lifelines_.get(), owner)) {
        alive.push_back(owner);
        continue;
      }
      dead.push_back(owner);
    }
    struct stat status{};
    if (fstatat(blocks_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    unlink_block(name, static_cast<std::uint64_t>(status.st_blocks) * 512);
  }
  for (const auto& name : list_directory(lifelines_.get())) {
    if (name.front() != '.' && name != owner_ && is_dead(lifelines_.get(), name)) {
      unlinkat(lifelines_.get(), name.c_str(), 0);
    }
  }
}

}  // namespace dovetail
