#include "memory.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <cstdlib>
#include <new>

#include "safetensors.hpp"

namespace dovetail {
namespace {

// Beyond this many, mapped values close their descriptor: the mapping alone keeps the lease.
constexpr int most_open_values = 256;
std::atomic<int> open_values{0};

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
  const auto rounded = (size / data_alignment + 1) * data_alignment;
  memory->bytes_ = static_cast<std::uint8_t*>(std::aligned_alloc(data_alignment, rounded));
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
      std::free(bytes_);
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
