#include "redis_library.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include <mutex>
#include <string>

#include "error.hpp"
#include "version.hpp"

namespace dovetail::redis {
namespace {

constexpr const char* file_name = "libdovetail_redis.so";

[[noreturn]] void unavailable(const std::string& why) {
  throw Error(Status::unavailable, "Redis is not reached from here: " + why);
}

std::string folder_of_this_library() {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(&wire), &info) == 0 || info.dli_fname == nullptr) {
    return ".";
  }
  const std::string file = info.dli_fname;
  const auto slash = file.rfind('/');
  return slash == std::string::npos ? "." : file.substr(0, slash);
}

const dovetail_redis_wire* load() {
  const auto folder = folder_of_this_library();
  const auto file = folder + "/" + file_name;
  if (access(file.c_str(), F_OK) != 0) {
    unavailable("there is no " + std::string(file_name) + " in " + folder +
                ", as hiredis was not found when this library was built. Install hiredis with its "
                "headers (Debian: libhiredis-dev) and build dovetail again, or use redis:// from "
                "Python");
  }
  void* const library = dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    const char* const why = dlerror();
    unavailable(std::string(why == nullptr ? "it cannot be loaded" : why) +
                ". Install hiredis (Debian: libhiredis-dev) and build dovetail again");
  }
  const auto functions =
      reinterpret_cast<dovetail_redis_wire_function>(dlsym(library, DOVETAIL_REDIS_WIRE_NAME));
  const auto* const found = functions == nullptr ? nullptr : functions();
  if (found == nullptr || std::string(found->built_for) != version_string) {
    unavailable(file + " belongs to " +
                (found == nullptr ? "something else" : "version " + std::string(found->built_for)) +
                ", and this library is of version " + version_string +
                ": install the whole package again");
  }
  return found;
}

}  // namespace

const dovetail_redis_wire& wire() {
  static std::mutex mutex;
  static const dovetail_redis_wire* loaded = nullptr;
  const std::lock_guard lock(mutex);
  if (loaded == nullptr) loaded = load();
  return *loaded;
}

}  // namespace dovetail::redis
