// The bytes of one value in this process: mapped or copied. What is mapped holds a lease on its
// file for as long as it lives; the lease ends by closing, never by unlocking, so that a forked
// child keeps what it inherited.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "posix.hpp"

namespace dovetail {

class Memory {
 public:
  static std::shared_ptr<Memory> on_heap(std::size_t size);
  // Maps a file that is locked through `file`. `keep_open` keeps the descriptor, so that
  // copy_on_write() can map the bytes once more.
  static std::shared_ptr<Memory> mapped(Fd file, std::size_t size);
  // Part of a mapping that something else owns; `owner` and the lock on `lease` live as long.
  static std::shared_ptr<Memory> borrowed(std::shared_ptr<void> owner, std::uint8_t* bytes,
                                          std::size_t size, Fd lease);
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  const std::uint8_t* data() const { return bytes_; }
  std::uint8_t* writable_data() { return bytes_; }
  std::size_t size() const { return size_; }
  bool writable() const { return writable_; }
  void set_writable(bool writable) { writable_ = writable; }

  // Another mapping of the same bytes, in which writing changes nobody else's; nothing if there is
  // no file to map.
  std::shared_ptr<Memory> copy_on_write() const;

  // How many views of these bytes are alive, counted by the language binding.
  std::atomic<std::uint32_t> exports{0};

 private:
  Memory() = default;

  std::uint8_t* bytes_ = nullptr;
  std::size_t size_ = 0;
  std::size_t room_ = 0;  // bytes of the block, if it lies on the heap
  bool writable_ = false;
  enum class Kind { heap, mapped, borrowed } kind_ = Kind::heap;
  Fd file_;
  std::shared_ptr<void> owner_;
};

// Maps `size` bytes of a file, shared and writable.
std::uint8_t* map_shared(int file, std::size_t size, bool populate);
std::uint8_t* map_shared_readable(int file, std::size_t size);
void unmap(std::uint8_t* bytes, std::size_t size);
// Replaces a shared mapping, at its address, by a private one of the same bytes: who still writes
// there harms nobody.
void make_private(std::uint8_t* bytes, std::size_t size, int file);

}  // namespace dovetail
