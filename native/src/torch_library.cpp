#include "torch_library.hpp"

#include <dlfcn.h>
#include <link.h>
#include <sys/stat.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <vector>

#include "error.hpp"
#include "python_program.hpp"

namespace dovetail {

namespace {

constexpr const char* cpu_library = "libtorch_cpu.so";

bool is_file(const std::string& path) {
  struct stat status{};
  return ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
}

// The library in a folder that someone named: that of the libraries, of the package, or the file.
std::string library_in(const std::string& place) {
  for (const auto& path : {place + "/" + cpu_library, place + "/lib/" + cpu_library,
                           place + "/torch/lib/" + cpu_library, place}) {
    if (is_file(path)) return path;
  }
  return "";
}

int find_loaded(dl_phdr_info* info, std::size_t, void* found) {
  if (info->dlpi_name == nullptr) return 0;
  const char* const name = std::strrchr(info->dlpi_name, '/');
  if (name == nullptr || std::strcmp(name + 1, cpu_library) != 0) return 0;
  *static_cast<std::string*>(found) = info->dlpi_name;
  return 1;
}

std::string loaded_library() {
  std::string found;
  dl_iterate_phdr(find_loaded, &found);
  return found;
}

std::string library_of_python() {
  const auto answer = run_python({"-c",
                                  "import importlib.util as u; s = u.find_spec('torch'); "
                                  "print(s.submodule_search_locations[0] if s else '')"},
                                 30);
  return answer.status == 0 ? library_in(answer.last_line()) : "";
}

std::string find_library(const std::string& hint) {
  if (auto path = loaded_library(); !path.empty()) return path;
  if (const char* place = std::getenv("DOVETAIL_LIBTORCH"); place != nullptr && *place != '\0') {
    auto path = library_in(place);
    if (path.empty()) {
      throw Error(Status::unavailable,
                  std::string("there is no libtorch_cpu.so in DOVETAIL_LIBTORCH=") + place +
                      ": name the folder that holds it, as torch/lib of a Python package");
    }
    return path;
  }
  if (!hint.empty()) {
    if (auto path = library_in(hint); !path.empty()) return path;
  }
  if (auto path = library_of_python(); !path.empty()) return path;
  throw Error(
      Status::unavailable,
      "libtorch was not found: the Python in PATH has no torch. Install torch there, or set "
      "DOVETAIL_LIBTORCH to the folder of libtorch_cpu.so");
}

// What libtorch throws comes with a trace of its own stack, in further lines.
std::string first_line(const char* text) {
  const std::string whole = text == nullptr ? "" : text;
  return whole.substr(0, whole.find('\n'));
}

}  // namespace

const TorchLibrary& TorchLibrary::of_process(const std::string& hint) {
  static std::mutex mutex;
  static std::unique_ptr<TorchLibrary> only;
  const std::lock_guard lock(mutex);
  if (!only) {
    std::unique_ptr<TorchLibrary> made(new TorchLibrary);
    made->open(hint);
    made->resolve();
    only = std::move(made);
  }
  return *only;
}

void TorchLibrary::open(const std::string& hint) {
  path = find_library(hint);
  handle_ = ::dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle_ == nullptr) {
    throw Error(Status::unavailable, "libtorch cannot be loaded: " + std::string(::dlerror()) +
                                         ". Name another one with DOVETAIL_LIBTORCH");
  }
}

void* TorchLibrary::symbol(const char* name) const {
  void* const found = ::dlsym(handle_, name);
  if (found == nullptr) {
    throw Error(Status::unavailable, path + " lacks " + name + ": it takes torch 2.6 or newer");
  }
  return found;
}

void TorchLibrary::resolve() {
  const auto take = [this](auto& pointer, const char* name) {
    pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(symbol(name));
  };
  const auto take_if_there = [this](auto& pointer, const char* name) {
    pointer = reinterpret_cast<std::remove_reference_t<decltype(pointer)>>(::dlsym(handle_, name));
  };
  std::uint64_t (*abi)() = nullptr;
  take(abi, "aoti_torch_abi_version");
  take(from_blob, "aoti_torch_create_tensor_from_blob");
  take(empty, "aoti_torch_empty_strided");
  take(copy, "aoti_torch_copy_");
  take(forget, "aoti_torch_delete_tensor_object");
  take(data_of, "aoti_torch_get_data_ptr");
  take(rank_of, "aoti_torch_get_dim");
  take(sizes_of, "aoti_torch_get_sizes");
  take(strides_of, "aoti_torch_get_strides");
  take(dtype_of, "aoti_torch_get_dtype");
  take(device_kind_of, "aoti_torch_get_device_type");
  take_if_there(what_, "torch_exception_get_what_without_backtrace");
  take_if_there(set_threads_, "_ZN2at15set_num_threadsEi");
  take_if_there(get_threads_, "_ZN2at15get_num_threadsEv");
  take_if_there(omp_set_threads_, "omp_set_num_threads");
  take_if_there(omp_get_threads_, "omp_get_max_threads");
  const std::uint64_t numbers = abi();
  major = static_cast<std::uint32_t>(numbers >> 56);
  minor = static_cast<std::uint32_t>(numbers >> 48 & 0xff);
  patch = static_cast<std::uint32_t>(numbers >> 40 & 0xff);
}

std::string TorchLibrary::version() const {
  return std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
}

void TorchLibrary::load_for(const std::string& device_kind) const {
  if (device_kind == "cpu") return;
  const auto folder = path.substr(0, path.rfind('/'));
  const auto library = folder + "/libtorch_" + device_kind + ".so";
  if (::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL) == nullptr) {
    const std::string why = ::dlerror();
    throw Error(Status::unavailable, "this torch cannot compute on " + device_kind + ": " + why +
                                         ". Install a torch built for it, or load the model with "
                                         "device=cpu");
  }
}

std::int32_t TorchLibrary::dtype_code(std::string_view name) const {
  static constexpr std::array<std::pair<const char*, const char*>, 15> names{{
      {"BOOL", "bool"},
      {"I8", "int8"},
      {"I16", "int16"},
      {"I32", "int32"},
      {"I64", "int64"},
      {"U8", "uint8"},
      {"U16", "uint16"},
      {"U32", "uint32"},
      {"U64", "uint64"},
      {"F16", "float16"},
      {"BF16", "bfloat16"},
      {"F32", "float32"},
      {"F64", "float64"},
      {"C64", "complex64"},
      {"C128", "complex128"},
  }};
  for (const auto& [ours, theirs] : names) {
    if (name != ours) continue;
    void* const function = ::dlsym(handle_, (std::string("aoti_torch_dtype_") + theirs).c_str());
    return function == nullptr ? -1 : reinterpret_cast<std::int32_t (*)()>(function)();
  }
  return -1;
}

std::int32_t TorchLibrary::device_code(const std::string& kind) const {
  if (kind != "cpu" && kind != "cuda" && kind != "xpu") return -1;
  void* const function = ::dlsym(handle_, ("aoti_torch_device_type_" + kind).c_str());
  return function == nullptr ? -1 : reinterpret_cast<std::int32_t (*)()>(function)();
}

std::string TorchLibrary::last_error() const { return what_ == nullptr ? "" : first_line(what_()); }

TorchThreads::TorchThreads(const TorchLibrary& torch, int count) : torch_(torch), count_(count) {
  if (count_ < 1 || torch_.set_threads_ == nullptr || torch_.get_threads_ == nullptr) {
    count_ = 0;
    return;
  }
  if (torch_.omp_get_threads_ != nullptr) omp_before_ = torch_.omp_get_threads_();
  torch_before_ = torch_.get_threads_();
  if (torch_before_ == count_ && (omp_before_ == count_ || omp_before_ == 0)) {
    count_ = 0;
    return;
  }
  torch_.set_threads_(count_);
}

TorchThreads::~TorchThreads() {
  if (count_ == 0) return;
  torch_.set_threads_(torch_before_);
  if (omp_before_ > 0) torch_.omp_set_threads_(omp_before_);
}

}  // namespace dovetail
