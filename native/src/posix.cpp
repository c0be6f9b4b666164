#include "posix.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <sstream>

#include "error.hpp"

namespace dovetail {

void Fd::reset() {
  if (fd_ >= 0) close(std::exchange(fd_, -1));
}

void throw_system_error(const std::string& operation, const std::string& subject, int error) {
  std::string message = operation + " " + subject + ": " + std::strerror(error);
  if (error == ENOSPC || error == EDQUOT) throw Error(Status::full, message, error);
  if (error == EMFILE || error == ENFILE) {
    message +=
        ". Every value held without a copy may keep a file open: let go of values, copy them, or "
        "raise the limit (ulimit -n)";
  }
  if (error == EACCES || error == EPERM) message += ". It may belong to another user";
  throw Error(Status::system, message, error);
}

Fd open_directory(const std::string& path) {
  Fd directory(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!directory) throw_system_error("cannot open the directory", path, errno);
  return directory;
}

void make_directories(const std::string& path, unsigned mode) {
  for (std::size_t end = path.find('/', 1);; end = path.find('/', end + 1)) {
    const auto part = path.substr(0, end);
    if (mkdir(part.c_str(), mode) != 0 && errno != EEXIST && errno != EISDIR) {
      const int error = errno;
      struct stat status{};
      if (stat(part.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) {
        throw_system_error("cannot make the directory", part, error);
      }
    }
    if (end == std::string::npos) return;
  }
}

void make_directory_at(int directory, const std::string& name) {
  if (mkdirat(directory, name.c_str(), 0700) == 0 || errno == EEXIST) return;
  const int error = errno;
  struct stat status{};  // some servers of files (SFTP) give no reason why
  if (fstatat(directory, name.c_str(), &status, 0) != 0 || !S_ISDIR(status.st_mode)) {
    throw_system_error("cannot make the directory", name, error);
  }
}

namespace {

struct CloseDirectory {
  void operator()(DIR* directory) const { closedir(directory); }
};
using Directory = std::unique_ptr<DIR, CloseDirectory>;

Directory open_listing(int directory, const std::string& name) {
  const int fd =
      openat(directory, name.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return nullptr;
  DIR* listing = fdopendir(fd);
  if (listing == nullptr) close(fd);
  return Directory(listing);
}

template <class Visit>
void for_each_entry(DIR* listing, Visit visit) {
  while (const dirent* entry = readdir(listing)) {
    if (std::strcmp(entry->d_name, ".") != 0 && std::strcmp(entry->d_name, "..") != 0) {
      visit(entry->d_name);
    }
  }
}

}  // namespace

std::vector<std::string> list_directory(int directory, const std::string& name) {
  std::vector<std::string> names;
  const auto listing = open_listing(directory, name);
  if (listing == nullptr) {
    if (errno == ENOENT || errno == ESTALE) return names;
    throw_system_error("cannot list the directory", name, errno);
  }
  for_each_entry(listing.get(), [&](const char* entry) { names.emplace_back(entry); });
  return names;
}

void remove_tree_at(int directory, const std::string& name) {
  if (unlinkat(directory, name.c_str(), 0) == 0 || errno == ENOENT) return;
  if (const auto listing = open_listing(directory, name)) {
    const int inner = dirfd(listing.get());
    for_each_entry(listing.get(), [&](const char* entry) { remove_tree_at(inner, entry); });
  }
  unlinkat(directory, name.c_str(), AT_REMOVEDIR);
}

std::uint64_t bytes_below(int directory, const std::string& name) {
  std::uint64_t bytes = 0;
  const auto listing = open_listing(directory, name);
  if (listing == nullptr) return 0;
  const int inner = dirfd(listing.get());
  for_each_entry(listing.get(), [&](const char* entry) {
    struct stat status{};
    if (fstatat(inner, entry, &status, AT_SYMLINK_NOFOLLOW) != 0) return;
    bytes += S_ISDIR(status.st_mode) ? bytes_below(inner, entry)
                                     : static_cast<std::uint64_t>(status.st_blocks) * 512;
  });
  return bytes;
}

std::string read_small_file_at(int directory, const std::string& name) {
  const Fd file(openat(directory, name.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK));
  if (!file) return {};
  std::string content;
  char buffer[4096];
  ssize_t got;
  while ((got = read(file.get(), buffer, sizeof buffer)) > 0 && content.size() < (1U << 20)) {
    content.append(buffer, static_cast<std::size_t>(got));
  }
  return content;
}

bool create_small_file_at(int directory, const std::string& name, const std::string& content) {
  const auto temporary = ".new-" + random_name();
  const Fd file(
      openat(directory, temporary.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600));
  if (!file) throw_system_error("cannot create the file", name, errno);
  std::size_t written = 0;
  while (written < content.size()) {
    const auto n = write(file.get(), content.data() + written, content.size() - written);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      const int error = errno;
      unlinkat(directory, temporary.c_str(), 0);
      throw_system_error("cannot write the file", name, error);
    }
    written += static_cast<std::size_t>(n);
  }
  int result = linkat(directory, temporary.c_str(), directory, name.c_str(), 0);
  int error = errno;
  if (result != 0 && (error == EPERM || error == EOPNOTSUPP || error == ENOSYS)) {
    // No hard links here.
    result = static_cast<int>(syscall(SYS_renameat2, directory, temporary.c_str(), directory,
                                      name.c_str(), RENAME_NOREPLACE));
    error = errno;
  }
  if (result != 0 && (error == EINVAL || error == EOPNOTSUPP || error == ENOSYS)) {
    // Nor a rename that replaces nothing. Who comes at the same instant writes the same.
    if (faccessat(directory, name.c_str(), F_OK, AT_SYMLINK_NOFOLLOW) == 0) {
      error = EEXIST;
    } else {
      result = renameat(directory, temporary.c_str(), directory, name.c_str());
      error = errno;
    }
  }
  unlinkat(directory, temporary.c_str(), 0);
  if (result == 0) return true;
  if (error == EEXIST) return false;
  throw_system_error("cannot create the file", name, error);
}

FileSystem file_system_of(int directory) {
  struct statfs status{};
  if (fstatfs(directory, &status) != 0)
    throw_system_error("cannot examine", "the directory", errno);
  switch (static_cast<unsigned long>(status.f_type)) {
    case 0x01021994UL:  // tmpfs
    case 0x858458f6UL:  // ramfs
      return FileSystem::memory;
    case 0xEF53UL:      // ext2, ext3, ext4
    case 0x58465342UL:  // xfs
      return FileSystem::local;
    default:
      return FileSystem::other;
  }
}

FileSystem shared_file_system_of(int directory) {
  const auto kind = file_system_of(directory);
  if (kind == FileSystem::other) return kind;
  const Fd own(openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  const bool locks = own && (flock(own.get(), LOCK_SH | LOCK_NB) == 0 || errno == EWOULDBLOCK);
  return locks ? kind : FileSystem::other;
}

Space space_of(int directory) {
  struct statvfs status{};
  if (fstatvfs(directory, &status) != 0) return {};
  return {status.f_blocks * status.f_frsize, status.f_bavail * status.f_frsize};
}

namespace {

constexpr std::uint64_t unlimited = UINT64_MAX;

std::uint64_t available_memory() {
  std::ifstream info("/proc/meminfo");
  std::string line;
  while (std::getline(info, line)) {
    if (line.rfind("MemAvailable:", 0) == 0) return std::stoull(line.substr(13)) * 1024;
  }
  return unlimited;
}

std::uint64_t number_in(const std::string& path) {
  std::ifstream file(path);
  std::uint64_t number = 0;
  return file >> number ? number : unlimited;  // "max" is no number
}

// What the control groups of this process (version 2, or the memory controller of version 1) still
// allow, the least over its ancestors.
std::uint64_t control_group_headroom() {
  std::uint64_t headroom = unlimited;
  std::ifstream groups("/proc/self/cgroup");
  std::string line;
  while (std::getline(groups, line)) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const auto controllers = line.substr(first + 1, second - first - 1);
    const bool version_2 = controllers.empty();
    if (!version_2 && controllers.find("memory") == std::string::npos) continue;
    const std::string root = version_2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    for (auto group = line.substr(second + 1);;) {
      const auto base = root + (group == "/" ? "" : group);
      const auto limit = number_in(base + (version_2 ? "/memory.max" : "/memory.limit_in_bytes"));
      const auto usage =
          number_in(base + (version_2 ? "/memory.current" : "/memory.usage_in_bytes"));
      if (limit != unlimited && usage != unlimited) {
        headroom = std::min(headroom, limit > usage ? limit - usage : 0);
      }
      if (group.empty() || group == "/") break;
      group.erase(group.rfind('/'));
    }
  }
  return headroom;
}

}  // namespace

std::uint64_t default_capacity(int directory, FileSystem kind) {
  auto least = space_of(directory).available;
  if (kind == FileSystem::memory) {
    least = std::min({least, available_memory(), control_group_headroom()});
  }
  return least / 2;
}

int allocate_space(int file, std::uint64_t bytes) {
  int error = 0;
  do {
    error = fallocate(file, 0, 0, static_cast<off_t>(bytes)) == 0 ? 0 : errno;
  } while (error == EINTR);
  if (error != 0 && ftruncate(file, 0) != 0) return error;
  return error;
}

std::string readable_bytes(std::uint64_t bytes) {
  constexpr const char* units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB"};
  auto amount = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (amount >= 1024 && unit + 1 < std::size(units)) {
    amount /= 1024;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : "%.1f %s", amount, units[unit]);
  return text;
}

std::string readable_seconds(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%g s", seconds);
  return text;
}

std::string random_name() {
  std::uint64_t bits = 0;
  if (getrandom(&bits, sizeof bits, 0) != sizeof bits) {
    throw_system_error("cannot get", "random bits", errno);
  }
  char text[17];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(bits));
  return text;
}

}  // namespace dovetail
