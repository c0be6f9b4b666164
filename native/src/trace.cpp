#include "trace.hpp"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>
#include <exception>
#include <memory>
#include <mutex>
#include <system_error>
#include <utility>

#include "clock.hpp"
#include "posix.hpp"

namespace dovetail::trace {
namespace {

constexpr std::uint64_t chunk_bytes = std::uint64_t{1} << 20;
constexpr std::uint8_t continuation_kind = 255;

struct Header {
  char magic[8] = {'D', 'V', 'T', 'L', 'T', 'R', 'C', 'E'};
  std::uint32_t version = 1;
  std::uint32_t slot = slot_bytes;
  std::uint64_t pid = 0;
  std::int64_t started_ns = 0;
  char host[32] = {};
};
static_assert(sizeof(Header) == slot_bytes);

struct EventSlot {
  std::uint64_t word;  // kind, name length and thread: stored last, in one piece
  std::int64_t start_ns;
  std::int64_t duration_ns;
  std::uint64_t nbytes;
  std::uint64_t wait_ns;
  char name[24];
};
static_assert(sizeof(EventSlot) == slot_bytes);

struct ContinuationSlot {
  std::uint64_t word;
  char name[56];
};
static_assert(sizeof(ContinuationSlot) == slot_bytes);

constexpr std::uint64_t most_slots =
    1 + (longest_name - sizeof EventSlot::name + sizeof ContinuationSlot::name - 1) /
            sizeof ContinuationSlot::name;

struct Recording {
  std::string directory;
  std::string path;
  std::uint64_t limit = 0;
  Fd fd;
  std::byte* base = nullptr;  // `limit` bytes of address space; null: events are written by pwrite
  std::atomic<std::uint64_t> claimed{1};    // slots given out; may exceed what is allocated
  std::atomic<std::uint64_t> allocated{0};  // bytes of the file that events can be put in
  std::atomic<bool> stopped{false};

  Recording() = default;
  Recording(const Recording&) = delete;
  Recording& operator=(const Recording&) = delete;
  ~Recording() {
    if (base != nullptr) munmap(base, limit);
  }
};

std::atomic<Recording*> current{nullptr};
std::atomic<Recording*> inherited{nullptr};  // in a forked child: what the parent records into
std::atomic<int> inside{0};                  // threads that may be using `current`
std::mutex control;                          // start, stop, growth, the reason; held across fork

std::string& reason() {
  static auto* text = new std::string;  // outlives the threads that record while we exit
  return *text;
}

thread_local std::uint32_t cached_thread = 0;

std::uint32_t thread_id() noexcept {
  if (cached_thread == 0) cached_thread = static_cast<std::uint32_t>(syscall(SYS_gettid));
  return cached_thread;
}

// Allocates `count` bytes of a file, so that they can be touched. 0 or an errno.
int allocate(int fd, std::uint64_t from, std::uint64_t count) noexcept {
  while (fallocate(fd, 0, static_cast<off_t>(from), static_cast<off_t>(count)) != 0) {
    if (errno != EINTR) return errno;
  }
  return 0;
}

// Writes all of it, or gives an errno.
int write_at(int fd, const void* data, std::uint64_t count, std::uint64_t offset) noexcept {
  const auto* from = static_cast<const std::byte*>(data);
  while (count > 0) {
    const ssize_t written = pwrite(fd, from, count, static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return written == 0 ? ENOSPC : errno;
    from += written;
    count -= static_cast<std::uint64_t>(written);
    offset += static_cast<std::uint64_t>(written);
  }
  return 0;
}

// Only where a mapped write to allocated space can never fail are events stored in a mapping.
bool can_be_mapped(int fd) {
  const FileSystem kind = file_system_of(fd);
  return kind == FileSystem::memory || kind == FileSystem::local;
}

std::unique_ptr<Recording> open_recording(const std::string& directory, std::uint64_t limit) {
  auto made = std::make_unique<Recording>();
  made->directory = directory;
  made->limit = std::max(limit, chunk_bytes) / chunk_bytes * chunk_bytes;

  Header header;
  header.pid = static_cast<std::uint64_t>(getpid());
  header.started_ns = wall_clock_ns();
  gethostname(header.host, sizeof header.host - 1);
  made->path = directory + "/" + header.host + "-" + std::to_string(header.pid) + "-" +
               random_name() + ".trace";

  made->fd = Fd(open(made->path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600));
  if (!made->fd) throw_system_error("cannot record a trace in", directory, errno);
  int error = write_at(made->fd.get(), &header, sizeof header, 0);
  if (error == 0 && can_be_mapped(made->fd.get())) {
    error = allocate(made->fd.get(), 0, chunk_bytes);
    if (error == 0) {
      void* mapped =
          mmap(nullptr, made->limit, PROT_READ | PROT_WRITE, MAP_SHARED, made->fd.get(), 0);
      if (mapped == MAP_FAILED) {
        error = errno;
      } else {
        made->base = static_cast<std::byte*>(mapped);
      }
    }
  }
  if (error != 0) {
    unlink(made->path.c_str());
    throw_system_error("cannot record a trace in", directory, error);
  }
  made->allocated.store(made->base != nullptr ? chunk_bytes : made->limit);
  return made;
}

// A child shares its parent's mapping and must not write to it: it leaves it at once, and opens a
// file of its own when it first records something.
void before_fork() { control.lock(); }
void in_parent() { control.unlock(); }
void in_child() {
  inside.store(0);
  cached_thread = 0;
  if (Recording* parents = current.exchange(nullptr)) inherited.store(parents);
  control.unlock();
}

// The caller holds `control`.
void end_with(Recording& recording, const std::string& why) noexcept {
  recording.stopped.store(true);
  try {
    reason() = why;
  } catch (const std::exception&) {
    reason().clear();
  }
}

void end_with(Recording& recording, int error) noexcept {
  try {
    end_with(recording, error == EFBIG ? recording.path + " has reached its limit of " +
                                             readable_bytes(recording.limit)
                                       : recording.path + " cannot grow: " + std::strerror(error));
  } catch (const std::exception&) {
    end_with(recording, std::string());
  }
}

// In a forked child: replaces the parent's recording. Null if there is none, or none can be made.
Recording* reopen(bool& just_stopped) noexcept {
  const std::lock_guard lock(control);
  if (Recording* opened = current.load()) return opened;
  const std::unique_ptr<Recording> parents(inherited.exchange(nullptr));
  if (!parents) return nullptr;
  try {
    Recording* opened = open_recording(parents->directory, parents->limit).release();
    current.store(opened);
    return opened;
  } catch (const std::exception& error) {
    end_with(*parents, error.what());
    just_stopped = true;
    return nullptr;
  }
}

// Makes room up to byte `wanted`.
bool grow(Recording& recording, std::uint64_t wanted, bool& just_stopped) noexcept {
  const std::lock_guard lock(control);
  while (recording.allocated.load() < wanted) {
    if (recording.stopped.load()) return false;
    const std::uint64_t from = recording.allocated.load();
    const int error = from + chunk_bytes > recording.limit
                          ? EFBIG
                          : allocate(recording.fd.get(), from, chunk_bytes);
    if (error != 0) {
      end_with(recording, error);
      just_stopped = true;
      return false;
    }
    recording.allocated.store(from + chunk_bytes, std::memory_order_release);
  }
  return true;
}

// The longest beginning of a UTF-8 text that fits and cuts no character.
std::string_view cut(std::string_view name) noexcept {
  if (name.size() <= longest_name) return name;
  std::size_t size = longest_name;
  while (size > 0 && (static_cast<unsigned char>(name[size]) & 0xC0U) == 0x80U) --size;
  return name.substr(0, size);
}

void complete(std::uint64_t& word, std::uint64_t value) noexcept {
  __atomic_store_n(&word, value, __ATOMIC_RELEASE);
}

void fill(std::byte* at, const Event& event, std::string_view name) noexcept {
  auto* slot = reinterpret_cast<EventSlot*>(at);
  const std::string_view first = name.substr(0, sizeof slot->name);
  for (std::string_view rest = name.substr(first.size()); !rest.empty();) {
    at += slot_bytes;
    auto* more = reinterpret_cast<ContinuationSlot*>(at);
    const std::string_view part = rest.substr(0, sizeof more->name);
    std::memcpy(more->name, part.data(), part.size());
    complete(more->word, continuation_kind);
    rest.remove_prefix(part.size());
  }
  slot->start_ns = event.start_ns;
  slot->duration_ns = event.end_ns - event.start_ns;
  slot->nbytes = event.nbytes;
  slot->wait_ns = event.wait_ns;
  std::memcpy(slot->name, first.data(), first.size());
  complete(slot->word, std::uint64_t{event.kind} | std::uint64_t{name.size()} << 16U |
                           std::uint64_t{thread_id()} << 32U);
}

std::uint64_t slots_for(std::string_view name) noexcept {
  constexpr std::uint64_t part = sizeof ContinuationSlot::name;
  const std::uint64_t size = name.size();
  return size <= sizeof EventSlot::name ? 1 : 1 + (size - sizeof EventSlot::name + part - 1) / part;
}

Outcome record_into(Recording& recording, const Event& event) noexcept {
  if (recording.stopped.load(std::memory_order_relaxed)) return Outcome::off;
  const std::string_view name = cut(event.name);
  const std::uint64_t slots = slots_for(name);
  const std::uint64_t offset = recording.claimed.fetch_add(slots) * slot_bytes;
  const std::uint64_t end = offset + slots * slot_bytes;
  bool just_stopped = false;
  if (end > recording.allocated.load(std::memory_order_acquire) &&
      !grow(recording, end, just_stopped)) {
    return just_stopped ? Outcome::just_stopped : Outcome::off;
  }
  if (recording.base != nullptr) {
    fill(recording.base + offset, event, name);
    return Outcome::recorded;
  }
  alignas(8) std::byte slot[most_slots * slot_bytes] = {};
  fill(slot, event, name);
  const int error = write_at(recording.fd.get(), slot, slots * slot_bytes, offset);
  if (error == 0) return Outcome::recorded;
  const std::lock_guard lock(control);
  if (recording.stopped.load()) return Outcome::off;
  end_with(recording, error);
  return Outcome::just_stopped;
}

}  // namespace

std::string start(const std::string& directory, std::uint64_t limit) {
  stop();
  static const int refused = pthread_atfork(before_fork, in_parent, in_child);
  if (refused != 0) throw_system_error("cannot record a trace in", directory, refused);
  auto made = open_recording(directory, limit);
  std::string path = made->path;
  const std::lock_guard lock(control);
  reason().clear();
  current.store(made.release());
  return path;
}

void stop() noexcept {
  std::unique_ptr<Recording> ended;
  {
    const std::lock_guard lock(control);
    ended.reset(current.exchange(nullptr));
    delete inherited.exchange(nullptr);
  }
  if (!ended) return;
  while (inside.load() != 0) sched_yield();
  const std::uint64_t claimed = ended->claimed.load();
  if (claimed == 1) {
    unlink(ended->path.c_str());  // nothing happened
    return;
  }
  const std::uint64_t used = std::min(claimed * slot_bytes, ended->allocated.load());
  // Should this fail, the file keeps its empty tail, which readers skip.
  if (ended->base != nullptr) (void)!ftruncate(ended->fd.get(), static_cast<off_t>(used));
}

bool recording() noexcept {
  return current.load(std::memory_order_relaxed) != nullptr ||
         inherited.load(std::memory_order_relaxed) != nullptr;
}

Outcome record(const Event& event) noexcept {
  bool just_stopped = false;
  Outcome outcome = Outcome::off;
  inside.fetch_add(1);
  Recording* recording = current.load();
  if (recording == nullptr && inherited.load() != nullptr) recording = reopen(just_stopped);
  if (recording != nullptr) outcome = record_into(*recording, event);
  inside.fetch_sub(1);
  return just_stopped ? Outcome::just_stopped : outcome;
}

std::string stop_reason() {
  const std::lock_guard lock(control);
  return reason();
}

}  // namespace dovetail::trace
