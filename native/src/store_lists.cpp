// Aggregation lists, and the table of keys that are too long for a file name.
//
// The n-th item of a list is a symbolic link named n. Making one is a single atomic call that fails
// if the name is taken, so each item is kept once, in order of arrival, whoever dies meanwhile.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>

#include "error.hpp"
#include "names.hpp"
#include "store_control.hpp"

namespace dovetail {
namespace {

std::string item_name(std::uint64_t position) {
  char name[24];
  std::snprintf(name, sizeof name, "%012llu", static_cast<unsigned long long>(position));
  return name;
}

bool has_item(int home, const std::string& folder, std::uint64_t position) {
  struct stat status{};
  return fstatat(home, (folder + item_name(position)).c_str(), &status, AT_SYMLINK_NOFOLLOW) == 0;
}

// As has_item(), after a failed attempt to add one. Some servers of files (SFTP) give no reason
// why.
bool is_taken(int home, const std::string& folder, std::uint64_t position) {
  const int error = errno;
  const bool taken = has_item(home, folder, position);
  errno = error;
  return taken;
}

// The first free position at or after `hint`: by doubling steps, then by halving them.
std::uint64_t end_of_list(int home, const std::string& folder, std::uint64_t hint) {
  if (hint > 0 && !has_item(home, folder, hint - 1)) hint = 0;  // the list was removed meanwhile
  if (!has_item(home, folder, hint)) return hint;
  std::uint64_t taken = hint, step = 1;
  while (has_item(home, folder, taken + step)) {
    taken += step;
    step *= 2;
  }
  auto free = taken + step;
  while (free - taken > 1) {
    const auto middle = taken + (free - taken) / 2;
    (has_item(home, folder, middle) ? taken : free) = middle;
  }
  return free;
}

}  // namespace

std::string LocalStore::stem_for_writing(const std::string& key) {
  auto stem = stem_of_key(key);
  const auto hash = hash_in_stem(stem);
  if (hash.empty()) return stem;
  pool();
  const auto name = "names/" + hash;
  if (!create_small_file_at(home_.get(), name, key) &&
      read_small_file_at(home_.get(), name) != key) {
    throw Error(Status::invalid_key, "the key '" + key.substr(0, 80) +
                                         "…' has the hash of another long key: shorten it");
  }
  return stem;
}

std::string LocalStore::stem_for_reading(const std::string& key) {
  auto stem = stem_of_key(key);
  // A long key whose hash belongs to another key names no value.
  if (!hash_in_stem(stem).empty() && key_behind(stem) != key) return stem + "%";
  return stem;
}

std::optional<std::string> LocalStore::key_behind(const std::string& stem) {
  const auto hash = hash_in_stem(stem);
  if (hash.empty()) return key_of_stem(stem);
  const auto key = read_small_file_at(folder_.get(), ".dovetail/names/" + hash);
  if (key.empty() || stem_of_key(key) != stem) return std::nullopt;
  return key;
}

std::string LocalStore::list_folder(const std::string& list) {
  return "lists/" + stem_for_writing(list) + "/";
}

std::uint64_t LocalStore::append(const std::string& list, const std::string& key) {
  pool();
  const auto target = stem_for_writing(key);
  const auto folder = list_folder(list);
  std::uint64_t position = 0;
  {
    const std::lock_guard lock(list_ends_->mutex);
    position = list_ends_->positions[list];
  }
  position = end_of_list(home_.get(), folder, position);
  for (;;) {
    const auto name = folder + item_name(position);
    if (symlinkat(target.c_str(), home_.get(), name.c_str()) == 0) {
      if (position == 0 || has_item(home_.get(), folder, position - 1)) break;
      unlinkat(home_.get(), name.c_str(), 0);  // the list was removed, and begun anew
      position = 0;
    } else if (errno == EEXIST || is_taken(home_.get(), folder, position)) {
      ++position;
    } else if (errno == ENOENT) {
      make_directory_at(home_.get(), folder.substr(0, folder.size() - 1));
      position = 0;
    } else if (errno == ENOSPC || errno == EDQUOT) {
      throw Error(Status::full, explain_full(0), ENOSPC);
    } else {
      throw_system_error("cannot append to the list", "'" + list + "'", errno);
    }
  }
  {
    const std::lock_guard lock(list_ends_->mutex);
    list_ends_->positions[list] = position + 1;
  }
  ring("list " + list);
  return position;
}

std::vector<std::string> LocalStore::items(const std::string& list, std::uint64_t start) {
  std::vector<std::string> items;
  const auto folder = ".dovetail/lists/" + stem_of_key(list) + "/";
  char target[256];
  for (auto position = start;; ++position) {
    const auto length =
        readlinkat(folder_.get(), (folder + item_name(position)).c_str(), target, sizeof target);
    if (length < 0) {
      if (errno == ENOENT || errno == ESTALE) return items;
      throw_system_error("cannot read the list", "'" + list + "'", errno);
    }
    auto key = key_behind(std::string(target, static_cast<std::size_t>(length)));
    if (!key) {
      throw Error(Status::corrupt,
                  "item " + std::to_string(position) + " of the list '" + list + "' names no key");
    }
    items.push_back(std::move(*key));
  }
}

void LocalStore::remove_list(const std::string& list) {
  auto& blocks = pool();
  auto folder = list_folder(list);
  folder.pop_back();
  // No list has this name: the sign that escapes is followed by two digits.
  const auto removed = "lists/%removed-" + blocks.new_name();
  if (renameat(home_.get(), folder.c_str(), home_.get(), removed.c_str()) != 0 && errno != ENOENT) {
    throw_system_error("cannot remove the list", "'" + list + "'", errno);
  }
  for (const auto& name : list_directory(home_.get(), "lists")) {
    if (name.rfind("%removed-", 0) == 0) remove_tree_at(home_.get(), "lists/" + name);
  }
  ring("list " + list);
}

std::vector<std::string> LocalStore::wait_items(const std::string& list, std::uint64_t count,
                                                std::uint64_t start, double timeout,
                                                const Interrupt& interrupt) {
  std::vector<std::string> found;
  const auto ready = [&] {
    auto more = items(list, start + found.size());
    found.insert(found.end(), std::make_move_iterator(more.begin()),
                 std::make_move_iterator(more.end()));
    return found.size() >= count;
  };
  if (!wait_until("list " + list, timeout, interrupt, ready)) {
    throw Error(Status::timeout, "the list '" + list + "' in " + options_.label + " held " +
                                     std::to_string(found.size()) + " of " + std::to_string(count) +
                                     " items from position " + std::to_string(start) +
                                     " on after " + readable_seconds(timeout));
  }
  return found;
}

}  // namespace dovetail
