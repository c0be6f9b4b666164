// Where the local engine keeps things. See url.hpp.
//
// shm://name lies in /dev/shm/dovetail-<user id>/: a store in name.store, a stream in name.stream.
// file:///folder is the folder of a store; a stream lies in /folder.stream.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "error.hpp"
#include "url.hpp"

namespace dovetail {
namespace {

constexpr const char* shared_memory = "/dev/shm";
constexpr std::size_t longest_name = 200;

const char* suffix_of(Purpose purpose) { return purpose == Purpose::store ? ".store" : ".stream"; }

bool is_fit(const std::string& name) {
  if (name.empty() || name.size() > longest_name) return false;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    const bool plain =
        (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
    if (!plain && (i == 0 || std::strchr(".+@-", c) == nullptr)) return false;
  }
  return true;
}

std::string shared_root() {
  return std::string(shared_memory) + "/dovetail-" + std::to_string(getuid());
}

void require_shared_memory() {
  struct stat status{};
  if (stat(shared_memory, &status) != 0 || !S_ISDIR(status.st_mode) ||
      access(shared_memory, W_OK) != 0) {
    throw Error(
        Status::unavailable,
        std::string("shm:// needs a writable ") + shared_memory +
            ", which this system does not have. Use file:///folder on a local disk instead");
  }
  const auto root = shared_root();
  if (lstat(root.c_str(), &status) != 0) return;
  if (!S_ISDIR(status.st_mode) || status.st_uid != getuid()) {
    throw Error(Status::unavailable, root + " is not a folder of this user (" +
                                         std::to_string(getuid()) + "): ask that it be removed");
  }
  if ((status.st_mode & 077) != 0) chmod(root.c_str(), 0700);
}

// Without ".", ".." and doubled slashes.
std::string normal(const std::string& path) {
  std::vector<std::string> parts;
  for (std::size_t begin = 0; begin < path.size();) {
    const auto end = std::min(path.find('/', begin), path.size());
    const auto part = path.substr(begin, end - begin);
    if (part == "..") {
      if (!parts.empty()) parts.pop_back();
    } else if (!part.empty() && part != ".") {
      parts.push_back(part);
    }
    begin = end + 1;
  }
  std::string text;
  for (const auto& part : parts) text += "/" + part;
  return text.empty() ? "/" : text;
}

}  // namespace

std::string shared_memory_folder() {
  require_shared_memory();
  return shared_root();
}

std::string folder_of(const Url& url, Purpose purpose) {
  if (url.scheme == "shm") {
    if (!is_fit(url.location)) {
      throw Error(Status::invalid_url,
                  "shm://" + url.location + " needs a name of letters, digits and _.+@-, such as " +
                      "shm://fields (at most 200, beginning with a letter, a digit or _)");
    }
    require_shared_memory();
    return shared_root() + "/" + url.location + suffix_of(purpose);
  }
  if (url.location.empty() || url.location.front() != '/') {
    throw Error(Status::invalid_url, "file://" + url.location +
                                         " must name an absolute path: write file:///folder, " +
                                         "with three slashes");
  }
  const auto folder = normal(url.location);
  struct stat status{};
  if (stat(folder.c_str(), &status) == 0 && !S_ISDIR(status.st_mode)) {
    throw Error(Status::invalid_url, "file://" + url.location + " is a file; name a folder");
  }
  if (purpose == Purpose::store) return folder;
  if (folder == "/") {
    throw Error(Status::invalid_url, "file:/// names no stream: write file:///folder");
  }
  return folder + suffix_of(purpose);
}

}  // namespace dovetail
