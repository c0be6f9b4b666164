// Finding the model server of this node, or starting it: whichever rank comes first does.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "model_messages.hpp"
#include "model_region.hpp"

namespace dovetail {

struct SharedModelOptions {
  std::string folder;           // of the compiled model
  std::string torch_hint = {};  // where this process looks for libtorch first, if it ever must
  std::string python = {};      // the program that becomes the server; empty: as for the compiler
  int device_index = 0;
  int threads = 0;       // the most that the server takes for a call; 0: what its ranks lend it
  double gather = 2e-4;  // seconds that a call may wait for those of other ranks
  bool join = true;      // whether samples of several ranks may be one call
  double timeout = 600;  // seconds for the start, and for each answer
  bool compute_here = false;  // once the server is gone, instead of failing
  // Called once, when that happens.
  std::function<void(const std::string&)> say = {};
  // Called now and then while waiting; throws to give up.
  std::function<void()> interrupt = {};
};

// A descriptor that forked children do not keep.
class OwnFd {
 public:
  OwnFd() = default;
  template <class Open>
  static OwnFd opened(Open open);
  OwnFd(OwnFd&& other) noexcept = default;
  OwnFd& operator=(OwnFd&& other) noexcept;
  ~OwnFd() { reset(); }
  int get() const { return fd_.get(); }
  explicit operator bool() const { return static_cast<bool>(fd_); }
  void reset();

 private:
  Fd fd_;
  std::uint64_t generation_ = 0;
};

struct JoinedServer {
  OwnFd socket;
  SharedBytes board;
  std::uint64_t process = 0;
  std::string place;
};

// Joins with a region. Throws Error: timeout; unavailable with the last words of the server, if it
// cannot be started; or what the server says against it.
JoinedServer join_server(const SharedModelOptions& options, const CallRegion& region);

// The bytes that a server left in its place when it was killed, removed if so asked; nothing if one
// runs or starts there.
std::optional<std::uint64_t> left_in_place(const std::string& place, bool remove);

}  // namespace dovetail
