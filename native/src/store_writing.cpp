// Publishing values: copied in, or filled in place.

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "error.hpp"
#include "fork.hpp"
#include "names.hpp"
#include "stopwatch.hpp"
#include "store_control.hpp"

namespace dovetail {
namespace {

void write_all(int file, const std::uint8_t* bytes, std::size_t size, std::uint64_t at) {
  while (size > 0) {
    const auto n = pwrite(file, bytes, size, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) throw_system_error("cannot write", "a value", n < 0 ? errno : EIO);
    bytes += n;
    size -= static_cast<std::size_t>(n);
    at += static_cast<std::uint64_t>(n);
  }
}

}  // namespace

// A hybrid clock: later than the version before, whatever the wall clock does.
std::uint64_t LocalStore::next_version() {
  const auto now = static_cast<std::uint64_t>(wall_clock_ns());
  auto last = control_->clock.load(std::memory_order_relaxed);
  for (;;) {
    const auto next = std::max(now, last + 1);
    if (control_->clock.compare_exchange_weak(last, next)) return next;
  }
}

std::string LocalStore::put(const std::string& key, std::vector<Piece> pieces,
                            const Metadata& metadata) {
  const Stopwatch stopwatch(counters_.ns_put);
  auto& blocks = pool();
  const auto stem = stem_for_writing(key);
  std::uint64_t bytes = 0;
  for (auto& piece : pieces) {
    if (piece.nbytes != bytes_of(piece)) {
      throw Error(Status::unsupported, "the array '" + std::string(piece.name) +
                                           "' does not have the size of its shape and dtype");
    }
    bytes += piece.nbytes;
  }
  const auto layout = lay_out(pieces, metadata);
  std::string version;
  if (in_place()) {
    const auto block = blocks.acquire(layout.total);
    std::memcpy(block->bytes, layout.header.data(), layout.header.size());
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      if (pieces[i].nbytes != 0) {
        std::memcpy(block->bytes + layout.offsets[i], pieces[i].data, pieces[i].nbytes);
      }
    }
    version = publish(block, stem, false);
  } else {
    auto header = layout.header;
    version = write_plain(layout.total, stem, [&](int file, const std::string& token) {
      auto* const head = reinterpret_cast<std::uint8_t*>(header.data());
      stamp_version(head, token);
      write_all(file, head, header.size(), 0);
      for (std::size_t i = 0; i < pieces.size(); ++i) {
        const auto* const bytes = static_cast<const std::uint8_t*>(pieces[i].data);
        write_all(file, bytes, pieces[i].nbytes, layout.offsets[i]);
      }
    });
  }
  counters_.puts.fetch_add(1, std::memory_order_relaxed);
  counters_.bytes_put.fetch_add(bytes, std::memory_order_relaxed);
  return version;
}

std::string LocalStore::publish(const std::shared_ptr<Block>& block, const std::string& stem,
                                bool cut_off) {
  const auto version = version_text(next_version(), block->inode);
  stamp_version(block->bytes, version);
  pool_->release(*block);
  if (cut_off) make_private(block->bytes, block->mapped, block->file.get());
  pool_->publish(block, folder_.get(), file_of_stem(stem), cut_off);
  ring(stem);
  return version;
}

// Where a mapped write could hit a full file system, or is not seen by others: a new file each
// time.
std::string LocalStore::write_plain(std::size_t size, const std::string& stem, const Fill& fill) {
  auto number = next_version();
  if (options_.poll) number ^= std::hash<std::string>{}(random_name()) & 0xFF;  // no common clock
  std::string version;
  const auto own = "blocks/" + pool_->new_name();
  const auto room = whole_pages(size);
  if (!control_->account.charge(room)) {
    reclaim();
    if (!control_->account.charge(room)) throw Error(Status::full, explain_full(room), ENOSPC);
  }
  try {
    Fd file(openat(home_.get(), own.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600));
    if (!file) throw_system_error("cannot create", "a value", errno);
    struct stat status{};
    if (fstat(file.get(), &status) != 0) throw_system_error("cannot examine", "a value", errno);
    version = version_text(number, status.st_ino);
    fill(file.get(), version);
    // Network file systems report a full disk as late as here.
    if (close(file.release()) != 0) throw_system_error("cannot write", "a value", errno);
    const auto name = file_of_stem(stem);
    struct stat replaced{};
    const bool replaces = fstatat(folder_.get(), name.c_str(), &replaced, AT_SYMLINK_NOFOLLOW) == 0;
    if (renameat(home_.get(), own.c_str(), folder_.get(), name.c_str()) != 0) {
      throw_system_error("cannot publish", name, errno);
    }
    if (replaces) control_->account.credit(static_cast<std::uint64_t>(replaced.st_blocks) * 512);
  } catch (const Error& error) {
    unlinkat(home_.get(), own.c_str(), 0);
    control_->account.credit(room);
    if (error.status == Status::full)
      throw Error(Status::full, explain_full(room), error.system_error);
    throw;
  }
  ring(stem);
  return version;
}

std::unique_ptr<Reservation> LocalStore::reserve(const std::string& key, std::vector<Piece> pieces,
                                                 const Metadata& metadata) {
  auto& blocks = pool();
  std::unique_ptr<LocalReservation> reservation(new LocalReservation(*this));
  reservation->stem_ = stem_for_writing(key);
  for (auto& piece : pieces) piece.nbytes = bytes_of(piece);
  reservation->layout_ = lay_out(pieces, metadata);
  const auto& layout = reservation->layout_;
  for (std::size_t i = 0; i < pieces.size(); ++i) {
    reservation->extents_.emplace_back(layout.offsets[i], pieces[i].nbytes);
  }
  if (in_place()) {
    auto block = blocks.acquire(layout.total);
    reservation->memory_ = Memory::borrowed(block, block->bytes, layout.total, Fd());
    reservation->block_ = std::move(block);
  } else {
    reservation->memory_ = Memory::on_heap(layout.total);
  }
  std::memcpy(reservation->memory_->writable_data(), layout.header.data(), layout.header.size());
  reservation->memory_->set_writable(true);
  reservation->generation_ = fork_generation();
  return reservation;
}

LocalReservation::~LocalReservation() {
  try {
    abort();
  } catch (const Error&) {  // nothing was published; the sweep removes what is left
  }
}

std::string LocalReservation::commit(bool written_to) {
  if (memory_ == nullptr)
    throw Error(Status::closed, "the reservation is already published or given up");
  if (generation_ != fork_generation()) {
    throw Error(Status::closed,
                "a reservation belongs to the process that made it, not to a forked child");
  }
  const Stopwatch stopwatch(store_.counters_.ns_put);
  const auto memory = std::move(memory_);
  const auto block = std::move(block_);
  memory_.reset();
  memory->set_writable(false);
  std::string version;
  if (block == nullptr) {
    version = store_.write_plain(layout_.total, stem_, [&](int file, const std::string& token) {
      stamp_version(memory->writable_data(), token);
      write_all(file, memory->data(), layout_.total, 0);
    });
  } else {
    const bool viewed = memory->exports.load() != 0;
    if (viewed) block->viewed = memory;
    version = store_.publish(block, stem_, viewed && written_to);
  }
  store_.counters_.puts.fetch_add(1, std::memory_order_relaxed);
  store_.counters_.bytes_put.fetch_add(layout_.total - layout_.header.size(),
                                       std::memory_order_relaxed);
  return version;
}

void LocalReservation::abort() {
  if (memory_ == nullptr) return;
  const auto block = std::move(block_);
  memory_->set_writable(false);
  memory_.reset();
  if (block != nullptr && generation_ == fork_generation()) store_.pool_->discard(block);
}

void LocalStore::remove(const std::string& key) {
  auto& blocks = pool();
  const auto name = file_of_stem(stem_for_reading(key));
  while (!blocks.withdraw(folder_.get(), name)) {
    if (!options_.poll || !has_file(name)) throw_not_found(key);
  }
  seen_.remove(name);
}

void LocalStore::rename(const std::string& key, const std::string& new_key) {
  pool();
  const auto from = file_of_stem(stem_for_reading(key));
  const auto stem = stem_for_writing(new_key);
  const auto to = file_of_stem(stem);
  struct stat replaced{};
  const bool replaces =
      from != to && fstatat(folder_.get(), to.c_str(), &replaced, AT_SYMLINK_NOFOLLOW) == 0;
  while (renameat(folder_.get(), from.c_str(), folder_.get(), to.c_str()) != 0) {
    if (errno == ENOENT && options_.poll && has_file(from)) continue;
    if (errno == ENOENT) throw_not_found(key);
    throw_system_error("cannot rename", "'" + key + "' to '" + new_key + "'", errno);
  }
  if (replaces) control_->account.credit(static_cast<std::uint64_t>(replaced.st_blocks) * 512);
  seen_.remove(from);
  ring(stem);
}

}  // namespace dovetail
