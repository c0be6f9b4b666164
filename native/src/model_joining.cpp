#include "model_joining.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>

#include "fork.hpp"
#include "model_threads.hpp"
#include "names.hpp"
#include "python_program.hpp"
#include "url.hpp"

namespace dovetail {

namespace {

constexpr std::size_t most_log = 4096;

// It leaves the session, the descriptors and the processors of the rank that starts it behind.
constexpr const char* program =
    "import os, sys\n"
    "if os.fork(): os._exit(0)\n"
    "os.setsid()\n"
    "os.closerange(3, 65536)\n"
    "from dovetail.model.serving import main\n"
    "sys.exit(main())\n";

std::string text_of_environment(const char* variable) {
  const char* const text = std::getenv(variable);
  return text == nullptr ? "-" : text;
}

// Ranks that mean the same model, computed in the same way, meet in the same place.
std::string place_of(const SharedModelOptions& options) {
  char real[PATH_MAX];
  const std::string folder =
      ::realpath(options.folder.c_str(), real) == nullptr ? options.folder : std::string(real);
  std::string text = folder;
  for (const auto& part :
       {std::to_string(ModelMessage::version_here), std::to_string(options.device_index),
        std::to_string(options.threads), std::to_string(options.gather),
        std::to_string(static_cast<int>(options.join)), text_of_environment("CUDA_VISIBLE_DEVICES"),
        text_of_environment("ZE_AFFINITY_MASK")}) {
    text += '\n' + part;
  }
  const auto name = "model-" + hash_in_stem(shortened(text + std::string(64, ' '), 48));
  return shared_memory_folder() + "/" + name + ".server";
}

std::string last_words(const std::string& place) {
  const Fd folder = open_directory(place);
  auto text = read_small_file_at(folder.get(), "log");
  if (text.size() > most_log) text.erase(0, text.size() - most_log);
  const auto end = text.find_last_not_of("\n ");
  text = end == std::string::npos ? "" : text.substr(0, end + 1);
  return text.substr(text.rfind('\n') == std::string::npos ? 0 : text.rfind('\n') + 1);
}

// What the new server announces, line by line. Nothing at its end, or at the deadline.
class Announcements {
 public:
  Announcements(Fd pipe, const SharedModelOptions& options, const Deadline& deadline)
      : pipe_(std::move(pipe)), options_(options), deadline_(deadline) {}

  std::string next() {
    for (;;) {
      if (const auto end = text_.find('\n'); end != std::string::npos) {
        const auto line = text_.substr(0, end);
        text_.erase(0, end + 1);
        return line;
      }
      pollfd polled{pipe_.get(), POLLIN, 0};
      const int ready = ::poll(&polled, 1, 50);
      if (options_.interrupt) options_.interrupt();
      if (ready <= 0) {
        if (deadline_.passed()) return "";
        continue;
      }
      char buffer[2048];
      const auto count = ::read(pipe_.get(), buffer, sizeof buffer);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0 || text_.size() > most_log) return "";
      text_.append(buffer, static_cast<std::size_t>(count));
    }
  }

 private:
  Fd pipe_;
  const SharedModelOptions& options_;
  const Deadline& deadline_;
  std::string text_;
};

// Ends a server that has announced itself and nothing more, whatever happens.
class Unready {
 public:
  ~Unready() {
    if (process > 1) ::kill(process, SIGKILL);
  }
  pid_t process = 0;
};

void start_server(const SharedModelOptions& options, const std::string& place,
                  const Deadline& deadline) {
  int ends[2];
  if (::pipe2(ends, O_CLOEXEC) != 0) throw_system_error("pipe", "a model server", errno);
  Announcements announcements(Fd(ends[0]), options, deadline);
  Fd writing(ends[1]);
  const auto log = place + "/log";
  Fd complaints(::open(log.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600));
  if (!complaints) throw_system_error("cannot make", log, errno);
  const int threads = options.threads > 0 ? options.threads : threads_of_all_ranks();
  start_python(options.python,
               {"-c", program, options.folder, "--place", place, "--device-index",
                std::to_string(options.device_index), "--threads", std::to_string(threads),
                "--gather", std::to_string(options.gather), options.join ? "--join" : "--apart"},
               writing.get(), complaints.get());
  writing.reset();
  Unready server;
  for (;;) {
    const auto line = announcements.next();
    if (line == "ready") {
      server.process = 0;
      return;
    }
    if (line.rfind("process ", 0) == 0) {
      server.process = static_cast<pid_t>(std::atoi(line.c_str() + 8));
    } else if (line.rfind("refused ", 0) == 0) {
      char* text = nullptr;
      const auto status = std::strtol(line.c_str() + 8, &text, 10);
      server.process = 0;
      throw Error(status >= 0 && status <= static_cast<long>(Status::system)
                      ? static_cast<Status>(status)
                      : Status::model_failed,
                  std::string("the model server of this node cannot be started:") + text);
    } else if (line.empty() && deadline.passed()) {
      throw Error(Status::timeout, "the model server of this node was not ready within " +
                                       readable_seconds(options.timeout) +
                                       ": give it more time with timeout");
    } else if (line.empty()) {
      server.process = 0;
      const auto words = last_words(place);
      throw Error(Status::unavailable,
                  "the model server of this node ended before it was ready: " +
                      (words.empty() ? std::string("it said nothing") : words));
    }
  }
}

void remove_place(const std::string& place) {
  const auto slash = place.rfind('/');
  const auto parent = open_directory(place.substr(0, slash));
  remove_tree_at(parent.get(), place.substr(slash + 1));
}

// Holds the lock of a place, in a folder that is still the one of this name.
OwnFd locked_place(const std::string& place, const SharedModelOptions& options,
                   const Deadline& deadline) {
  const auto path = place + "/lock";
  OwnFd lock;
  const auto interrupt = [&] {
    if (options.interrupt) options.interrupt();
  };
  const auto taken = [&] {
    if (!lock) {
      make_directories(place, 0700);
      lock =
          OwnFd::opened([&] { return ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600); });
      if (!lock && errno == ENOENT) return false;
      if (!lock) throw_system_error("cannot open", path, errno);
    }
    if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) {
      if (errno != EWOULDBLOCK && errno != EINTR) throw_system_error("cannot lock", path, errno);
      return false;
    }
    struct stat held{}, named{};
    if (::fstat(lock.get(), &held) == 0 && ::stat(path.c_str(), &named) == 0 &&
        held.st_ino == named.st_ino && held.st_dev == named.st_dev) {
      return true;
    }
    lock.reset();  // its server ended meanwhile, and took the folder along
    return false;
  };
  if (!poll_until(deadline, interrupt, taken)) {
    throw Error(Status::timeout,
                "another rank has been starting the model server of this node for " +
                    readable_seconds(options.timeout) + ": give it more time with timeout");
  }
  return lock;
}

}  // namespace

template <class Open>
OwnFd OwnFd::opened(Open open) {
  auto forks = hold_forks();
  OwnFd made;
  made.fd_ = Fd(open());
  made.generation_ = fork_generation();
  if (made.fd_) close_in_children(made.fd_.get(), forks);
  return made;
}

OwnFd& OwnFd::operator=(OwnFd&& other) noexcept {
  if (this != &other) {
    reset();
    fd_ = std::move(other.fd_);
    generation_ = other.generation_;
  }
  return *this;
}

void OwnFd::reset() {
  if (!fd_) return;
  if (generation_ != fork_generation()) {
    fd_.release();  // closed at the fork
    return;
  }
  forget_in_children(fd_.get());
  fd_.reset();
}

JoinedServer join_server(const SharedModelOptions& options, const CallRegion& region) {
  const Deadline deadline(options.timeout);
  const auto place = place_of(options);
  for (int attempt = 0;; ++attempt) {
    const auto lock = locked_place(place, options, deadline);
    const auto connected = [&] {
      return OwnFd::opened([&] { return connect_in(place).release(); });
    };
    JoinedServer joined;
    joined.place = place;
    joined.socket = connected();
    if (!joined.socket) {
      try {
        start_server(options, place, deadline);
      } catch (...) {
        remove_place(place);  // under its lock
        throw;
      }
      joined.socket = connected();
    }
    ModelMessage message;
    message.kind = ModelMessage::join;
    ::sched_getaffinity(0, sizeof message.processors, &message.processors);
    Fd board;
    if (joined.socket && send_message(joined.socket.get(), message, region.bytes().file()) &&
        receive_message(joined.socket.get(), message, board, deadline)) {
      if (message.kind == ModelMessage::refused) {
        throw Error(static_cast<Status>(message.number), message.text);
      }
      joined.board = SharedBytes(std::move(board));
      if (joined.board.size() < sizeof(ServerBoard)) {
        throw Error(Status::corrupt, "the model server of this node sent no board");
      }
      joined.process = message.number;
      return joined;
    }
    if (deadline.passed()) {
      throw Error(Status::timeout, "the model server of this node did not answer within " +
                                       readable_seconds(options.timeout));
    }
    // One that was killed between two calls is begun anew, once.
    if (attempt > 0) {
      throw Error(Status::unavailable,
                  "the model server of this node ended as soon as it was "
                  "ready: " +
                      last_words(place));
    }
  }
}

std::optional<std::uint64_t> left_in_place(const std::string& place, bool remove) {
  const auto path = place + "/lock";
  const auto lock = OwnFd::opened([&] { return ::open(path.c_str(), O_RDWR | O_CLOEXEC); });
  if (!lock || ::flock(lock.get(), LOCK_EX | LOCK_NB) != 0 || connect_in(place)) {
    return std::nullopt;
  }
  struct stat held{}, named{};
  if (::fstat(lock.get(), &held) != 0 || ::stat(path.c_str(), &named) != 0 ||
      held.st_ino != named.st_ino) {
    return std::nullopt;
  }
  const auto bytes = bytes_below(open_directory(place).get());
  if (remove) remove_place(place);
  return bytes;
}

}  // namespace dovetail
