#include "memory.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <cstdlib>
#include <mutex>
#include <new>
#include <vector>

#include "safetensors.hpp"

namespace dovetail {
namespace {

// Beyond this many, mapped values close their descriptor: the mapping alone keeps the lease.
constexpr int most_open_values = 256;
std::atomic<int> open_values{0};

// Large blocks that are used again, since memory fresh from the system is slow to touch. Whoever
// finds them locked does without, so that a child forked meanwhile never waits.
class SpareBlocks {
 public:
  std::uint8_t* take(std::size_t wanted, std::size_t& size) {
    std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock || wanted < smallest) return nullptr;
    for (auto block = blocks_.begin(); block != blocks_.end(); ++block) {
      if (block->size < wanted || block->size / 2 > wanted) continue;
      std::uint8_t* bytes = block->bytes;
      size = block->size;
      blocks_.erase(block);
      return bytes;
    }
    return nullptr;
  }

  // Whether it was kept.
  bool give(std::uint8_t* bytes, std::size_t size) {
    std::unique_lock<std::mutex> lock(mutex_, std::try_to_lock);
    if (!lock || size < smallest || size > largest) return false;
    if (blocks_.size() == most) {
      std::free(blocks_.front().bytes);
      blocks_.erase(blocks_.begin());
    }
    blocks_.push_back({bytes, size});
    return true;
  }

 private:
  static constexpr std::size_t smallest = std::size_t{1} << 18, largest = std::size_t{1} << 27;
  static constexpr std::size_t most = 2;
  struct Block {
    std::uint8_t* bytes;
    std::size_t size;
  };
  std::mutex mutex_;
  std::vector<Block> blocks_;
};

SpareBlocks& spare_blocks() {
  static auto* spares = new SpareBlocks;  // threads may still read at the end of the program
  return *spares;
}

}  // namespace

std::uint8_t* map_shared(int file, std::size_t size, bool populate) {
  void* bytes = mmap(nullptr, size, PROT_READ | PROT_WRITE,
                     MAP_SHARED | (populate ? MAP_POPULATE : 0), file, 0);
  if (bytes == MAP_FAILED) throw_system_error("cannot map", readable_bytes(size), errno);
  return static_cast<std::uint8_t*>(bytes);
}

std::uint8_t* map_shared_readable(int file, std::size_t size) {
  void* bytes = mmap(nullptr, size, PROT_READ, MAP_SHARED, file, 0);
  if (bytes == MAP_FAILED) throw_system_error("cannot map", readable_bytes(size), errno);
  return static_cast<std::uint8_t*>(bytes);
}

void unmap(std::uint8_t* bytes, std::size_t size) { munmap(bytes, size); }

void make_private(std::uint8_t* bytes, std::size_t size, int file) {
  if (mmap(bytes, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file, 0) == MAP_FAILED) {
    throw_system_error("cannot map", readable_bytes(size), errno);
  }
}

std::shared_ptr<Memory> Memory::on_heap(std::size_t size) {
  std::shared_ptr<Memory> memory(new Memory);
  memory->size_ = size;
  memory->room_ = (size / data_alignment + 1) * data_alignment;
  memory->bytes_ = spare_blocks().take(memory->room_, memory->room_);
  if (memory->bytes_ == nullptr) {
    memory->bytes_ = static_cast<std::uint8_t*>(std::aligned_alloc(data_alignment, memory->room_));
  }
  if (memory->bytes_ == nullptr) throw std::bad_alloc();
  return memory;
}

std::shared_ptr<Memory> Memory::mapped(Fd file, std::size_t size) {
  std::shared_ptr<Memory> memory(new Memory);
  memory->bytes_ = map_shared_readable(file.get(), size);
  memory->kind_ = Kind::mapped;
  memory->size_ = size;
  if (open_values.fetch_add(1) < most_open_values) {
    memory->file_ = std::move(file);
  } else {
    open_values.fetch_sub(1);
  }
  return memory;
}

std::shared_ptr<Memory> Memory::borrowed(std::shared_ptr<void> owner, std::uint8_t* bytes,
                                         std::size_t size, Fd lease) {
  std::shared_ptr<Memory> memory(new Memory);
  memory->kind_ = Kind::borrowed;
  memory->owner_ = std::move(owner);
  memory->bytes_ = bytes;
  memory->size_ = size;
  memory->file_ = std::move(lease);
  return memory;
}

Memory::~Memory() {
  switch (kind_) {
    case Kind::heap:
      if (!spare_blocks().give(bytes_, room_)) std::free(bytes_);
      break;
    case Kind::mapped:
      unmap(bytes_, size_);
      if (file_) open_values.fetch_sub(1);
      break;
    case Kind::borrowed:
      break;
  }
}

std::shared_ptr<Memory> Memory::copy_on_write() const {
  if (!file_) return nullptr;
  void* bytes = mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_PRIVATE, file_.get(), 0);
  if (bytes == MAP_FAILED) throw_system_error("cannot map", readable_bytes(size_), errno);
  std::shared_ptr<Memory> memory(new Memory);
  memory->kind_ = Kind::mapped;
  memory->size_ = size_;
  memory->bytes_ = static_cast<std::uint8_t*>(bytes);
  memory->writable_ = true;
  return memory;
}

}  // namespace dovetail
