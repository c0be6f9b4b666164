// The thin layer over the operating system: descriptors, files, file systems.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

namespace dovetail {

// An owned file descriptor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  Fd(const Fd&) = delete;
  Fd& operator=(const Fd&) = delete;
  ~Fd() { reset(); }

  int get() const { return fd_; }
  int release() { return std::exchange(fd_, -1); }
  explicit operator bool() const { return fd_ >= 0; }
  void reset();

 private:
  int fd_ = -1;
};

// Throws Error(Status::system) with the operation, what it was done to, and the reason; out of
// space and over quota become Status::full, too many open files says what to do.
[[noreturn]] void throw_system_error(const std::string& operation, const std::string& subject,
                                     int error);

Fd open_directory(const std::string& path);
void make_directories(const std::string& path, unsigned mode);
// Makes a directory below another; that it exists is fine.
void make_directory_at(int directory, const std::string& name);
std::vector<std::string> list_directory(int directory, const std::string& name = ".");
// Removes a directory of ours with all that is in it. What vanishes meanwhile is no error.
void remove_tree_at(int directory, const std::string& name);
// Bytes allocated to all files below.
std::uint64_t bytes_below(int directory, const std::string& name = ".");
// The whole text of a small file; empty if there is none.
std::string read_small_file_at(int directory, const std::string& name);
// Writes a small file under a name that appears at once with its full content. False if the name
// was taken.
bool create_small_file_at(int directory, const std::string& name, const std::string& content);

enum class FileSystem {
  memory,  // tmpfs, ramfs
  local,   // ext4, xfs: mapped writes to allocated space are safe
  other,   // network file systems; and those where a second write may need new space (btrfs, zfs…)
};
FileSystem file_system_of(int directory);
// The same, but `other` where a folder cannot even be locked.
FileSystem shared_file_system_of(int directory);

struct Space {
  std::uint64_t total = 0;
  std::uint64_t available = 0;
};
Space space_of(int directory);
// Half of the least of what the file system, the memory and the control group still have.
std::uint64_t default_capacity(int directory, FileSystem kind);

// Allocates the first `bytes` of a file; returns 0 or the error. On failure nothing stays
// allocated.
int allocate_space(int file, std::uint64_t bytes);

std::string readable_bytes(std::uint64_t bytes);
std::string readable_seconds(double seconds);
std::string random_name();

constexpr std::size_t page_size = 4096;
inline std::size_t whole_pages(std::size_t bytes) {
  return bytes == 0 ? page_size : (bytes + page_size - 1) / page_size * page_size;
}

}  // namespace dovetail
