#include "lifeline.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>

#include "error.hpp"
#include "fork.hpp"

namespace dovetail {

Lifeline::Lifeline(int directory)
    : directory_(fcntl(directory, F_DUPFD_CLOEXEC, 0)), name_(random_name()) {
  if (!directory_) throw_system_error("cannot duplicate", "a directory handle", errno);
  // Locked under a hidden name first: a visible lifeline is never found unlocked while its owner
  // lives.
  const auto hidden = "." + name_;
  auto forks = hold_forks();
  file_ = Fd(openat(directory, hidden.c_str(), O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600));
  if (!file_) throw_system_error("cannot create the lifeline", name_, errno);
  if (flock(file_.get(), LOCK_EX | LOCK_NB) != 0) {
    const int error = errno;
    unlinkat(directory, hidden.c_str(), 0);
    throw_system_error("cannot lock the lifeline", name_, error);
  }
  close_in_children(file_.get(), forks);
  forks.unlock();
  if (renameat(directory, hidden.c_str(), directory, name_.c_str()) != 0) {
    const int error = errno;
    forget_in_children(file_.get());
    unlinkat(directory, hidden.c_str(), 0);
    throw_system_error("cannot publish the lifeline", name_, error);
  }
}

Lifeline::~Lifeline() {
  if (!file_) return;
  unlinkat(directory_.get(), name_.c_str(), 0);
  forget_in_children(file_.get());
}

void Lifeline::abandon() { file_.release(); }  // already closed at the fork

bool is_dead(int directory, const std::string& name) {
  const Fd file(openat(directory, name.c_str(), O_RDWR | O_CLOEXEC | O_NOFOLLOW));
  if (!file) {
    if (errno == ENOENT) return true;
    throw_system_error("cannot examine the lifeline", name, errno);
  }
  // Shared, so that two who ask at once do not take each other for the owner.
  return flock(file.get(), LOCK_SH | LOCK_NB) == 0;
}

}  // namespace dovetail
