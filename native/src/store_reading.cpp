// Getting values, waiting for them, and listing what is there.

#include <fcntl.h>
#include <sched.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>

#include "error.hpp"
#include "names.hpp"
#include "stopwatch.hpp"
#include "store_control.hpp"

namespace dovetail {
namespace {

// Values up to this size are copied: cheaper than a mapping.
constexpr std::uint64_t largest_copied = 16384;
// Read together with the file's length: enough for the header of most values.
constexpr std::size_t first_read = 1024;
constexpr double patience_with_writers = 30;  // seconds to catch a value that is replaced meanwhile
// Where others' changes are seen late (a file system of the network, or one that a program serves),
// a file that is being replaced may be reported as gone, or with the length of the one before; and
// it has no name for a moment if somebody reads it (NFS and FUSE first give it another one). So a
// value counts as damaged, or as missing, only if it is so for some time: longer if this process
// has seen it before.
constexpr double patience_with_caches = 3;  // seconds
constexpr double patience_with_names = 0.25, patience_with_new_names = 0.002;
constexpr std::int64_t first_pause_ns = 100'000, longest_pause_ns = 10'000'000;

void pause(std::int64_t nanoseconds) {
  const timespec span{0, nanoseconds};
  nanosleep(&span, nullptr);
}

bool was_replaced(int error) { return error == ENOENT || error == ESTALE; }

// Whether a file begins as the values do that are written here.
bool begins_as_ours(int file) {
  char first[8 + header_opening.size()];
  return pread(file, first, sizeof first, 0) == static_cast<ssize_t>(sizeof first) &&
         std::string_view(first + 8, header_opening.size()) == header_opening;
}

[[noreturn]] void throw_irregular(const std::string& key) {
  throw Error(Status::corrupt, "the value of '" + key + "' is no regular file");
}

void read_all(int file, std::uint8_t* bytes, std::uint64_t size, const std::string& key) {
  std::uint64_t at = 0;
  while (at < size) {
    const auto n = pread(file, bytes + at, size - at, static_cast<off_t>(at));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw_system_error("cannot read the value of", "'" + key + "'", errno);
    if (n == 0) {
      throw Error(Status::corrupt, "the value of '" + key + "' shrank while it was read");
    }
    at += static_cast<std::uint64_t>(n);
  }
}

std::uint64_t bytes_of_arrays(const Header& header) {
  std::uint64_t bytes = 0;
  for (const auto& entry : header.entries) bytes += entry.nbytes;
  return bytes;
}

}  // namespace

std::optional<Value> LocalStore::open_value(const std::string& key, bool header_only) {
  const auto name = file_of_stem(stem_for_reading(key));
  return options_.poll ? open_served(name, key, header_only) : open_held(name, key, header_only);
}

std::optional<Value> LocalStore::open_held(const std::string& name, const std::string& key,
                                           bool header_only) {
  const Deadline deadline(patience_with_writers);
  for (int attempt = 0;; ++attempt) {
    Fd file(openat(folder_.get(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    if (!file) {
      const int error = errno;
      if (error == ENOENT) return std::nullopt;
      if (error == ELOOP || error == ENXIO) throw_irregular(key);
      if (error != EWOULDBLOCK)
        throw_system_error("cannot open the value of", "'" + key + "'", error);
    }
    struct stat opened{}, named{};
    if (file && fstat(file.get(), &opened) == 0) {
      if (!S_ISREG(opened.st_mode)) throw_irregular(key);
      // Held, and still what the name stands for: nobody will fill it again. Being open holds it,
      // but for writers without leases; those say so before they publish.
      const bool lock = !ready_.load() || control_->account.locks_needed.load() != 0;
      if (!lock || flock(file.get(), LOCK_SH | LOCK_NB) == 0) {
        if (fstatat(folder_.get(), name.c_str(), &named, AT_SYMLINK_NOFOLLOW) != 0) {
          if (errno == ENOENT) return std::nullopt;
          throw_system_error("cannot examine the value of", "'" + key + "'", errno);
        }
        if (named.st_ino == opened.st_ino && named.st_dev == opened.st_dev) {
          return load(std::move(file), opened, key, header_only);
        }
      }
    }
    if (attempt > 10) sched_yield();
    if (deadline.passed()) {
      throw Error(Status::timeout, "the value of '" + key +
                                       "' was replaced faster than it could be " + "opened, for " +
                                       std::to_string(static_cast<int>(deadline.seconds())) + " s");
    }
  }
}

std::optional<Value> LocalStore::open_served(const std::string& name, const std::string& key,
                                             bool header_only) {
  const Deadline deadline(patience_with_caches);
  for (;;) {
    Fd file(openat(folder_.get(), name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
    struct stat status{};
    if (!file || fstat(file.get(), &status) != 0) {
      const int error = errno;
      if (error == ELOOP || error == ENXIO) throw_irregular(key);
      if (error == ENOENT && !comes_back(name)) return std::nullopt;
      if (!was_replaced(error) || deadline.passed())
        throw_system_error("cannot open the value of", "'" + key + "'", error);
      continue;
    }
    if (!S_ISREG(status.st_mode)) throw_irregular(key);
    const bool ours = begins_as_ours(file.get());
    seen_.add(name);
    try {
      return load(std::move(file), status, key, header_only);
    } catch (const Error& error) {
      const bool again = error.status == Status::corrupt
                             ? ours
                             : error.status == Status::system && was_replaced(error.system_error);
      if (!again || deadline.passed()) throw;
    }
    pause(longest_pause_ns);
  }
}

Value LocalStore::load(Fd file, const struct stat& status, const std::string& key,
                       bool header_only) {
  try {
    const auto size = static_cast<std::uint64_t>(status.st_size);
    Value value;
    value.nbytes = size;
    std::uint8_t head[first_read];
    const auto head_size = std::min<std::uint64_t>(size, first_read);
    std::shared_ptr<Memory> copy;
    std::uint8_t* first = head;
    if (!header_only && size <= largest_copied) {
      copy = Memory::on_heap(size);
      first = copy->writable_data();
      read_all(file.get(), first, size, key);
    } else {
      read_all(file.get(), first, head_size, key);
    }
    const auto end = header_end(first, size);
    ReadHeader header;
    if (copy != nullptr || end <= head_size) {
      header = headers_.read(first, size);
    } else {
      std::string whole(end, '\0');
      auto* const bytes = reinterpret_cast<std::uint8_t*>(whole.data());
      read_all(file.get(), bytes, end, key);
      header = headers_.read(bytes, size);
    }
    value.header = std::move(header.shared);
    // A file has another number on each node that mounts a file system of the network.
    value.ours = options_.poll ? header.version.size() == version_digits
                               : is_version_of(header.version, status.st_ino);
    if (value.ours) {
      value.version = std::move(header.version);
      value.time = static_cast<double>(number_in_version(value.version)) * 1e-9;
    } else {
      const auto& changed = status.st_mtim;
      value.time =
          static_cast<double>(changed.tv_sec) + 1e-9 * static_cast<double>(changed.tv_nsec);
      value.version = "foreign-" + std::to_string(status.st_ino) + "-" + std::to_string(size) +
                      "-" + std::to_string(changed.tv_sec) + "." + std::to_string(changed.tv_nsec);
    }
    if (header_only) return value;
    if (copy == nullptr && (!value.ours || !in_place())) {
      // Others may change or cut a file of theirs under a mapping.
      copy = Memory::on_heap(size);
      read_all(file.get(), copy->writable_data(), size, key);
    }
    value.memory = copy != nullptr ? std::move(copy) : Memory::mapped(std::move(file), size);
    return value;
  } catch (const Error& error) {
    if (error.status != Status::corrupt) throw;
    throw Error(Status::corrupt, "the value of '" + key + "' in " + options_.label +
                                     " is not sound safetensors: " + error.what());
  }
}

void LocalStore::throw_not_found(const std::string& key) {
  throw Error(Status::key_not_found, "there is no value '" + key + "' in " + options_.label);
}

Value LocalStore::get(const std::string& key) {
  const Stopwatch stopwatch(counters_.ns_got);
  auto value = open_value(key, false);
  if (!value) throw_not_found(key);
  counters_.gets.fetch_add(1, std::memory_order_relaxed);
  counters_.bytes_got.fetch_add(bytes_of_arrays(*value->header), std::memory_order_relaxed);
  return std::move(*value);
}

Value LocalStore::stat(const std::string& key) {
  auto value = open_value(key, true);
  if (!value) throw_not_found(key);
  return std::move(*value);
}

Value LocalStore::wait(const std::string& key, double timeout,
                       const std::optional<std::string>& newer_than, const Interrupt& interrupt) {
  std::optional<Value> value;
  const auto is_wanted = [&] {
    return value.has_value() && (!newer_than || value->version != *newer_than);
  };
  const auto ready = [&] {
    if (!in_place() && newer_than) {  // a value that is known already is not copied again
      value = open_value(key, true);
      if (!is_wanted()) return false;
    }
    value = open_value(key, false);
    return is_wanted();
  };
  if (!wait_until(stem_of_key(key), timeout, interrupt, ready)) {
    throw Error(Status::timeout, "no " + std::string(newer_than ? "newer value" : "value") +
                                     " of '" + key + "' in " + options_.label + " within " +
                                     readable_seconds(timeout) +
                                     ": is its producer running, and does it use this store?");
  }
  counters_.gets.fetch_add(1, std::memory_order_relaxed);
  counters_.bytes_got.fetch_add(bytes_of_arrays(*value->header), std::memory_order_relaxed);
  return std::move(*value);
}

bool LocalStore::wait_until(const std::string& stem, double timeout, const Interrupt& interrupt,
                            const std::function<bool()>& ready) {
  if (ready()) return true;
  const Stopwatch stopwatch(counters_.ns_waited);
  const Deadline deadline(timeout);
  bool shared = true;
  try {
    pool();
  } catch (const Error&) {
    shared = false;  // a folder that only can be read
  }
  const auto between = [&] {
    interrupt();
    struct stat status{};
    if (fstat(folder_.get(), &status) == 0 && status.st_nlink == 0) {
      throw Error(Status::closed, "the store " + options_.label +
                                      " was destroyed while this process waited; open it again");
    }
  };
  if (!shared || options_.poll) return poll_until(deadline, between, ready);
  return wait_on(bell_of(stem), deadline, between, ready);
}

// The same in every process and language that shares the page: FNV-1a.
Bell& LocalStore::bell_of(const std::string& stem) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;
  for (const char c : stem) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3ULL;
  return control_->bells[hash % bell_count];
}

void LocalStore::ring(const std::string& stem) {
  if (!options_.poll) bell_of(stem).ring();
}

bool LocalStore::exists(const std::string& key) {
  return has_file(file_of_stem(stem_for_reading(key)));
}

bool LocalStore::has_file(const std::string& name) {
  return is_named(name) || (options_.poll && comes_back(name));
}

// Whether a file that was missing just now is there after all.
bool LocalStore::comes_back(const std::string& name) {
  const Deadline deadline(seen_.contain(name) ? patience_with_names : patience_with_new_names);
  for (auto span = first_pause_ns; !is_named(name); span = std::min(2 * span, longest_pause_ns)) {
    if (deadline.passed()) {
      seen_.remove(name);
      return false;
    }
    pause(span);
  }
  return true;
}

bool LocalStore::is_named(const std::string& name) {
  struct stat status{};
  return fstatat(folder_.get(), name.c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
}

std::vector<std::string> LocalStore::keys(const std::string& prefix) {
  std::vector<std::string> keys;
  for (const auto& name : list_directory(folder_.get())) {
    const auto stem = stem_of_file(name);
    auto key = stem ? key_behind(*stem) : std::nullopt;
    if (key && key->compare(0, prefix.size(), prefix) == 0) keys.push_back(std::move(*key));
  }
  std::sort(keys.begin(), keys.end());
  return keys;
}

std::vector<ForeignFile> LocalStore::foreign_files() {
  std::vector<ForeignFile> files;
  for (const auto& name : list_directory(folder_.get())) {
    if (name == ".dovetail") continue;
    const auto stem = stem_of_file(name);
    const auto key = stem ? key_behind(*stem) : std::nullopt;
    if (!key) {
      files.push_back({name, stem ? "no key has this file name" : "not a safetensors file"});
      continue;
    }
    try {
      open_value(*key, true);
    } catch (const Error& error) {
      files.push_back({name, error.what()});
    }
  }
  std::sort(files.begin(), files.end(),
            [](const ForeignFile& a, const ForeignFile& b) { return a.name < b.name; });
  return files;
}

}  // namespace dovetail
