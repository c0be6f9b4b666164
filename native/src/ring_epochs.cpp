// Making, mapping and removing the epochs of a stream.
#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "error.hpp"
#include "memory.hpp"
#include "ring.hpp"
#include "version.hpp"

namespace dovetail {
namespace {

constexpr double patience_with_openers = 10;  // seconds for another process to finish opening

std::uint64_t current_epoch(int folder) {
  return std::strtoull(read_small_file_at(folder, "current").c_str(), nullptr, 10);
}

std::string epoch_name(std::uint64_t epoch) { return "e" + std::to_string(epoch); }

std::size_t control_size(std::uint32_t writers, std::uint32_t slots) {
  return sizeof(RingControl) + writers * sizeof(WriterRank) + slots * sizeof(Slot) +
         std::size_t{slots} * writers * sizeof(Contribution);
}

// Slots are cheap; there must be more than the window, so that a step is overwritten long after it
// was needed last.
std::uint32_t slots_for(Policy policy) {
  std::uint32_t slots = 64;
  while (slots < 2 * policy.window + 2) slots *= 2;
  return slots;
}

bool is_same(int folder, const std::string& path) {
  struct stat opened{}, named{};
  return fstat(folder, &opened) == 0 && ::stat(path.c_str(), &named) == 0 &&
         opened.st_ino == named.st_ino && opened.st_dev == named.st_dev;
}

// The stream's folder, locked while an epoch is made or removed. The kernel drops the lock with the
// process.
Fd lock_for_opening(const std::string& stream, const std::string& label) {
  Fd folder;
  const auto locked = [&] {
    make_directories(stream, 0700);
    folder = Fd(open(stream.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder && errno != ENOENT) throw_system_error("cannot open the stream", label, errno);
    return folder && flock(folder.get(), LOCK_EX | LOCK_NB) == 0 && is_same(folder.get(), stream);
  };
  if (poll_until(Deadline(patience_with_openers), [] {}, locked)) return folder;
  throw Error(Status::timeout, "another process has been opening the stream " + label +
                                   " for 10 s: is one stopped there?");
}

bool is_epoch(const std::string& name) {
  return name.size() > 1 && name[0] == 'e' && name[1] >= '0' && name[1] <= '9';
}

bool has_living(int epoch) {
  const Fd lifelines(openat(epoch, "lifelines", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!lifelines) return false;
  for (const auto& name : list_directory(lifelines.get())) {
    if (name.front() != '.' && !is_dead(lifelines.get(), name)) return true;
  }
  return false;
}

// Removes an epoch in which nobody lives; to be called under the stream's lock. It is hidden first,
// and then looked at: whoever joins makes a lifeline first, and then looks whether the epoch is
// still there.
bool retire_epoch(int folder, const std::string& name) {
  const bool hidden_before = name.rfind("gone-", 0) == 0;
  if (name.rfind("current-", 0) == 0) unlinkat(folder, name.c_str(), 0);
  if (!hidden_before && !is_epoch(name)) return false;
  const auto hidden = hidden_before ? name : "gone-" + random_name();
  if (!hidden_before && renameat(folder, name.c_str(), folder, hidden.c_str()) != 0) return false;
  const Fd epoch(openat(folder, hidden.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (epoch && has_living(epoch.get())) {
    if (!hidden_before) renameat(folder, hidden.c_str(), folder, name.c_str());
    return false;
  }
  remove_tree_at(folder, hidden);
  return true;
}

[[noreturn]] void throw_damaged(const std::string& label) {
  throw Error(Status::corrupt, "the control page of the stream " + label +
                                   " is damaged: remove the stream (dovetail stream rm " + label +
                                   ")");
}

// What speaks against a new epoch while this one is there.
void refuse_if_busy(Ring& ring) {
  const auto state = ring.state();
  if (state == RingState::open) {
    throw Error(Status::busy, "the stream " + ring.label() +
                                  " already has a writer: close it first, or give each writer a "
                                  "stream of its own, or open as ranks of one (rank=, size=)");
  }
  if (state != RingState::ended || ring.policy().kind == PolicyKind::latest) return;
  ring.bury_dead_groups();
  if (ring.holds_for_readers() && !ring.has_live_group()) {
    throw Error(Status::busy, "the stream " + ring.label() + " still holds " +
                                  std::to_string(ring.steps_held()) +
                                  " steps of an earlier writer that no reader has taken: read "
                                  "them, or remove them (dovetail stream rm " +
                                  ring.label() + ")");
  }
}

}  // namespace

std::shared_ptr<Ring> Ring::create(const std::string& stream, const std::string& label,
                                   Policy policy, std::uint32_t writers, std::uint64_t capacity) {
  const Fd folder = lock_for_opening(stream, label);
  const auto kind = file_system_of(folder.get());
  if (kind != FileSystem::memory && kind != FileSystem::local) {
    throw Error(
        Status::capability,
        "the stream " + label +
            " lies on a file system whose files cannot be shared in "
            "memory and filled in place: use a folder on a local disk (ext4, xfs), or shm://");
  }
  const auto before = current_epoch(folder.get());
  if (before != 0) {
    if (const auto old = attach(stream, label)) refuse_if_busy(*old);
  }
  // What earlier epochs left, and writers that died while they made one.
  auto newest = before;
  for (const auto& name : list_directory(folder.get())) {
    if (!retire_epoch(folder.get(), name) && is_epoch(name)) {  // somebody lives in it still
      newest = std::max<std::uint64_t>(newest, std::strtoull(name.c_str() + 1, nullptr, 10));
    }
  }

  const auto epoch = newest + 1;
  const auto name = epoch_name(epoch);
  make_directory_at(folder.get(), name);
  Fd inside(openat(folder.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!inside) throw_system_error("cannot open", stream + "/" + name, errno);
  make_directory_at(inside.get(), "blocks");
  make_directory_at(inside.get(), "lifelines");

  const auto slots = slots_for(policy);
  const auto size = whole_pages(control_size(writers, slots));
  {
    const Fd file(openat(inside.get(), "control", O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
    if (!file) throw_system_error("cannot create the stream", label, errno);
    const int error = allocate_space(file.get(), size);
    if (error != 0) {
      remove_tree_at(folder.get(), name);
      throw_system_error("no room for the stream", label, error);
    }
    auto* const control = reinterpret_cast<RingControl*>(map_shared(file.get(), size, false));
    std::memcpy(control->magic, stream_magic, sizeof stream_magic);
    control->format = stream_format;
    std::strncpy(control->written_by, version_string, sizeof control->written_by - 1);
    control->epoch = epoch;
    control->policy = policy.kind;
    control->window = policy.window;
    control->slots = slots;
    control->writers = writers;
    control->account.capacity.store(capacity != 0 ? capacity
                                                  : default_capacity(folder.get(), kind));
    unmap(reinterpret_cast<std::uint8_t*>(control), size);
  }
  std::shared_ptr<Ring> ring(new Ring);
  ring->stream_ = stream;
  ring->label_ = label;
  ring->folder_ = open_directory(stream);
  ring->map(std::move(inside));
  ring->lifeline_ = std::make_unique<Lifeline>(ring->lifelines_folder());
  ring->writer(0).lifeline.store(number_of(ring->lifeline_->name()));
  ring->announce();
  flock(folder.get(), LOCK_UN);  // not left to the closing: a forked child may have the folder open
  return ring;
}

void Ring::announce() {
  const auto next = "current-" + random_name();
  create_small_file_at(folder_.get(), next, std::to_string(control_->epoch));
  if (renameat(folder_.get(), next.c_str(), folder_.get(), "current") != 0) {
    throw_system_error("cannot publish the stream", label_, errno);
  }
}

std::shared_ptr<Ring> Ring::attach(const std::string& stream, const std::string& label) {
  Fd folder(open(stream.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) {
    if (errno == ENOENT) return nullptr;
    throw_system_error("cannot open the stream", label, errno);
  }
  const auto epoch = current_epoch(folder.get());
  if (epoch == 0) return nullptr;
  Fd inside(openat(folder.get(), epoch_name(epoch).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!inside) {
    if (errno == ENOENT) return nullptr;
    throw_system_error("cannot open the stream", label, errno);
  }
  std::shared_ptr<Ring> ring(new Ring);
  ring->stream_ = stream;
  ring->label_ = label;
  ring->folder_ = std::move(folder);
  try {
    ring->map(std::move(inside));
  } catch (const Error& error) {
    if (error.system_error == ENOENT) return nullptr;  // removed meanwhile
    throw;
  }
  return ring;
}

void Ring::map(Fd epoch_folder) {
  epoch_ = std::move(epoch_folder);
  const auto open_at = [&](const char* name, int flags) {
    Fd file(openat(epoch_.get(), name, flags | O_CLOEXEC | O_NOFOLLOW));
    if (!file) throw_system_error("cannot open the stream", label_, errno);
    return file;
  };
  blocks_ = open_at("blocks", O_RDONLY | O_DIRECTORY);
  lifelines_ = open_at("lifelines", O_RDONLY | O_DIRECTORY);
  const Fd file = open_at("control", O_RDWR);
  struct stat status{};
  fstat(file.get(), &status);
  char head[64] = {};
  if (pread(file.get(), head, sizeof head, 0) != static_cast<ssize_t>(sizeof head) ||
      std::memcmp(head, stream_magic, sizeof stream_magic) != 0) {
    throw_damaged(label_);
  }
  std::uint32_t format = 0;
  std::memcpy(&format, head + 8, sizeof format);
  const bool long_enough = status.st_size >= static_cast<off_t>(sizeof(RingControl));
  if (format != stream_format || !long_enough) {
    const std::string writer(head + 16, strnlen(head + 16, 48));
    throw Error(Status::format_version,
                "the stream " + label_ + " was made by Dovetail " + writer + " (format " +
                    std::to_string(format) + "); this is Dovetail " + version_string + " (format " +
                    std::to_string(stream_format) +
                    "). Use one version on both sides, or remove the stream");
  }
  mapped_ = static_cast<std::size_t>(status.st_size);
  control_ = reinterpret_cast<RingControl*>(map_shared(file.get(), mapped_, true));
  policy_ = {control_->policy, control_->window};
  writer_count_ = control_->writers;
  slot_count_ = control_->slots;
  const bool sound = writer_count_ >= 1 && writer_count_ <= most_writer_ranks && slot_count_ >= 1 &&
                     slot_count_ <= (1U << 20) && policy_.kind <= PolicyKind::work_queue &&
                     policy_.window >= 1 && policy_.window < slot_count_ &&
                     control_size(writer_count_, slot_count_) <= mapped_;
  if (!sound) throw_damaged(label_);
  writers_ = reinterpret_cast<WriterRank*>(control_ + 1);
  slots_ = reinterpret_cast<Slot*>(writers_ + writer_count_);
  contributions_ = reinterpret_cast<Contribution*>(slots_ + slot_count_);
}

Ring::~Ring() {
  if (control_ != nullptr) unmap(reinterpret_cast<std::uint8_t*>(control_), mapped_);
}

bool Ring::is_still_there() {
  return is_same(epoch_.get(), stream_ + "/" + epoch_name(control_->epoch));
}

void Ring::remove_if_done() {
  if (is_joinable() || has_live_group()) return;
  // Several may leave at once: the last to have the lock sees nobody.
  const auto locked = [&] { return flock(folder_.get(), LOCK_EX | LOCK_NB) == 0; };
  if (!poll_until(Deadline(1), [] {}, locked)) return;  // a writer opens: it will tidy up
  if (is_same(folder_.get(), stream_) && retire_epoch(folder_.get(), epoch_name(control_->epoch)) &&
      current_epoch(folder_.get()) == control_->epoch) {
    unlinkat(folder_.get(), "current", 0);
    rmdir(stream_.c_str());
  }
  flock(folder_.get(), LOCK_UN);
}

StreamSummary describe_stream(const std::string& stream, const std::string& label) {
  const auto ring = Ring::attach(stream, label);
  if (ring == nullptr) {
    throw Error(Status::key_not_found, "there is no stream " + label +
                                           ": no writer has opened it, or it ended and was read");
  }
  auto& control = ring->control();
  StreamSummary summary{ring->policy(),
                        ring->state(),
                        control.epoch,
                        ring->writer_count(),
                        ring->complete(),
                        ring->steps_held(),
                        control.account.allocated.load(),
                        control.account.capacity.load(),
                        {}};
  const auto count = ring->group_count();
  for (std::uint32_t index = 0; index < count; ++index) {
    const auto& group = ring->group(index);
    const auto state = group.state();
    if (state < GroupState::live || state > GroupState::lost) continue;
    summary.groups.push_back({std::string(group.name, strnlen(group.name, sizeof group.name)),
                              group.ranks_in_use(), state, ring->ended_by(group)});
  }
  return summary;
}

void destroy_stream(const std::string& stream, const std::string& label) {
  const Fd folder(open(stream.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) {
    if (errno == ENOENT) throw Error(Status::key_not_found, "there is no stream " + label);
    throw_system_error("cannot open the stream", label, errno);
  }
  // Who makes or removes an epoch now is waited for, but not for ever.
  const auto locked = [&] { return flock(folder.get(), LOCK_EX | LOCK_NB) == 0; };
  poll_until(Deadline(1), [] {}, locked);
  unlinkat(folder.get(), "current", 0);
  for (const auto& name : list_directory(folder.get())) remove_tree_at(folder.get(), name);
  rmdir(stream.c_str());
  flock(folder.get(), LOCK_UN);
}

std::uint64_t dead_epochs(const std::string& stream, bool remove) {
  const Fd folder(open(stream.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder || flock(folder.get(), LOCK_EX | LOCK_NB) != 0) return 0;
  const auto current = current_epoch(folder.get());
  std::uint64_t bytes = 0;
  for (const auto& name : list_directory(folder.get())) {
    const Fd epoch(openat(folder.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!epoch || has_living(epoch.get())) continue;
    if (name == epoch_name(current)) {
      const auto ring = Ring::attach(stream, stream);
      if (ring != nullptr && ring->state() == RingState::ended && ring->holds_for_readers())
        continue;
    }
    bytes += bytes_below(folder.get(), name);
    if (remove && retire_epoch(folder.get(), name) && name == epoch_name(current)) {
      unlinkat(folder.get(), "current", 0);
    }
  }
  if (remove) rmdir(stream.c_str());  // if nothing is left
  flock(folder.get(), LOCK_UN);
  return bytes;
}

}  // namespace dovetail
