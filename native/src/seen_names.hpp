// Names that were there when they were last looked for: whether to believe that one is missing.
#pragma once

#include <mutex>
#include <string>
#include <unordered_set>

namespace dovetail {

class SeenNames {
 public:
  // Unless it is known better, a name was seen.
  bool contain(const std::string& name) {
    const auto lock = try_to_hold();
    return !lock || names_.count(name) != 0;
  }

  void add(const std::string& name) {
    const auto lock = try_to_hold();
    if (!lock) return;
    if (names_.size() >= most_names) names_.clear();
    names_.insert(name);
  }

  void remove(const std::string& name) {
    if (const auto lock = try_to_hold()) names_.erase(name);
  }

 private:
  static constexpr std::size_t most_names = 4096;

  // Not waited for: another thread may have held it when this process was forked.
  std::unique_lock<std::mutex> try_to_hold() { return std::unique_lock(mutex_, std::try_to_lock); }

  std::mutex mutex_;
  std::unordered_set<std::string> names_;
};

}  // namespace dovetail
