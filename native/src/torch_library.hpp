// libtorch, found and opened when the first model is loaded: nothing here is compiled or linked
// against it. Only its plain C functions are used, and one for the number of threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace dovetail {

struct AtenTensor;  // of libtorch: only ever a pointer

// How many threads libtorch may use, of the calling thread, while one of these lives. What the
// solver had set for its own OpenMP is put back.
class TorchThreads;

class TorchLibrary {
 public:
  // The one of this process. `hint` is a folder to look in first; then come what is loaded
  // already, DOVETAIL_LIBTORCH, and the torch of the Python in PATH. Throws
  // Error(Status::unavailable). It is never unloaded.
  static const TorchLibrary& of_process(const std::string& hint = "");

  // Loads what a device needs besides; throws Error(Status::unavailable).
  void load_for(const std::string& device_kind) const;

  std::string path;
  std::uint32_t major = 0, minor = 0, patch = 0;
  std::string version() const;

  // Of torch for a dtype of the format ("F32"), or for a device ("cpu"); -1 if there is none.
  std::int32_t dtype_code(std::string_view name) const;
  std::int32_t device_code(const std::string& kind) const;

  using Code = std::int32_t;  // 0 is success
  Code (*from_blob)(void* data, std::int64_t rank, const std::int64_t* sizes,
                    const std::int64_t* strides, std::int64_t offset, std::int32_t dtype,
                    std::int32_t device_kind, std::int32_t device_index, AtenTensor** made);
  Code (*empty)(std::int64_t rank, const std::int64_t* sizes, const std::int64_t* strides,
                std::int32_t dtype, std::int32_t device_kind, std::int32_t device_index,
                AtenTensor** made);
  Code (*copy)(AtenTensor* to, AtenTensor* from, std::int32_t non_blocking);
  Code (*forget)(AtenTensor* tensor);
  Code (*data_of)(AtenTensor* tensor, void** data);
  Code (*rank_of)(AtenTensor* tensor, std::int64_t* rank);
  Code (*sizes_of)(AtenTensor* tensor, std::int64_t** sizes);
  Code (*strides_of)(AtenTensor* tensor, std::int64_t** strides);
  Code (*dtype_of)(AtenTensor* tensor, std::int32_t* dtype);
  Code (*device_kind_of)(AtenTensor* tensor, std::int32_t* kind);

  // What libtorch said last in this thread, on one line; empty where it is too old to tell.
  std::string last_error() const;

 private:
  friend class TorchThreads;
  TorchLibrary() = default;
  void* symbol(const char* name) const;
  void open(const std::string& hint);
  void resolve();

  void* handle_ = nullptr;
  const char* (*what_)() = nullptr;
  void (*set_threads_)(int) = nullptr;
  int (*get_threads_)() = nullptr;
  void (*omp_set_threads_)(int) = nullptr;
  int (*omp_get_threads_)() = nullptr;
};

class TorchThreads {
 public:
  TorchThreads(const TorchLibrary& torch, int count);
  TorchThreads(const TorchThreads&) = delete;
  TorchThreads& operator=(const TorchThreads&) = delete;
  ~TorchThreads();

 private:
  const TorchLibrary& torch_;
  int count_, torch_before_ = 0, omp_before_ = 0;
};

}  // namespace dovetail
