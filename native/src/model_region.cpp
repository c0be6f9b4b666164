#include "model_region.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <new>
#include <utility>

#include "error.hpp"

namespace dovetail {

namespace {

constexpr const char* subject = "memory shared with a model server";
constexpr int seals = F_SEAL_SHRINK | F_SEAL_GROW;

}  // namespace

SharedBytes::SharedBytes(std::size_t size) : size_(whole_pages(size)) {
  file_ = Fd(::memfd_create("dovetail-model", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!file_) throw_system_error("cannot make", subject, errno);
  // Allocated before it is touched: too little memory is an error then, and no signal.
  if (const int error = allocate_space(file_.get(), size_); error != 0) {
    throw_system_error("cannot allocate " + readable_bytes(size_) + " of", subject, error);
  }
  if (::ftruncate(file_.get(), static_cast<off_t>(size_)) != 0 ||
      ::fcntl(file_.get(), F_ADD_SEALS, seals) != 0) {
    throw_system_error("cannot size", subject, errno);
  }
  map();
}

SharedBytes::SharedBytes(Fd file) : file_(std::move(file)) {
  const int found = ::fcntl(file_.get(), F_GET_SEALS);
  struct stat status{};
  if (found < 0 || (found & seals) != seals || ::fstat(file_.get(), &status) != 0 ||
      status.st_size <= 0) {
    throw Error(Status::corrupt, std::string("the other side sent no ") + subject);
  }
  size_ = static_cast<std::size_t>(status.st_size);
  map();
}

void SharedBytes::map() {
  void* const mapped = ::mmap(nullptr, size_, PROT_READ | PROT_WRITE, MAP_SHARED, file_.get(), 0);
  if (mapped == MAP_FAILED) throw_system_error("cannot map", subject, errno);
  bytes_ = static_cast<std::uint8_t*>(mapped);
}

SharedBytes::SharedBytes(SharedBytes&& other) noexcept
    : file_(std::move(other.file_)),
      bytes_(std::exchange(other.bytes_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

SharedBytes& SharedBytes::operator=(SharedBytes&& other) noexcept {
  std::swap(file_, other.file_);
  std::swap(bytes_, other.bytes_);
  std::swap(size_, other.size_);
  return *this;
}

SharedBytes::~SharedBytes() {
  if (bytes_ != nullptr) ::munmap(bytes_, size_);
}

CallRegion::CallRegion(SharedBytes bytes) : bytes_(std::move(bytes)) {
  if (bytes_.size() < first_byte()) {
    throw Error(Status::corrupt, "a region of " + std::to_string(bytes_.size()) +
                                     " bytes is too small to describe a call");
  }
}

ModelArray CallRegion::array(const RegionArray& described, std::int64_t* shape) const {
  const auto refuse = [] {
    throw Error(Status::corrupt, "an array does not lie in the region that it is said to lie in");
  };
  ModelArray array;
  array.dtype = described.dtype;
  array.rank = described.rank;
  array.shape = shape;
  const auto offset = described.offset;
  const auto item = static_cast<std::uint64_t>(model_item_bytes(array.dtype));
  if (item == 0 || array.rank < 0 || array.rank > static_cast<std::int32_t>(most_model_axes) ||
      offset < first_byte() || offset > bytes_.size() || offset % region_alignment != 0) {
    refuse();
  }
  const auto most = static_cast<std::uint64_t>(bytes_.size()) - offset;
  std::uint64_t bytes = item;
  bool empty = false;
  for (std::int32_t axis = 0; axis < array.rank; ++axis) {
    shape[axis] = described.shape[axis];
    if (shape[axis] < 0) refuse();
    empty = empty || shape[axis] == 0;
  }
  for (std::int32_t axis = 0; axis < array.rank && !empty; ++axis) {
    if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(shape[axis]), &bytes)) refuse();
  }
  if (!empty && bytes > most) refuse();
  array.data = bytes_.data() + offset;
  return array;
}

}  // namespace dovetail
