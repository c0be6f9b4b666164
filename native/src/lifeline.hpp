// Who is alive: each participant keeps a file locked for as long as it lives. The kernel drops the
// lock with the process, whatever kills it; process numbers mean nothing across containers.
#pragma once

#include <string>

#include "posix.hpp"

namespace dovetail {

class Lifeline {
 public:
  // Makes and locks a file of a random name in `directory`.
  explicit Lifeline(int directory);
  ~Lifeline();
  Lifeline(const Lifeline&) = delete;
  Lifeline& operator=(const Lifeline&) = delete;

  const std::string& name() const { return name_; }
  // In a forked child the parent's lifeline is the parent's to remove.
  void abandon();

 private:
  Fd directory_;
  Fd file_;
  std::string name_;
};

// True if the participant that made the lifeline `name` is gone.
bool is_dead(int directory, const std::string& name);

}  // namespace dovetail
