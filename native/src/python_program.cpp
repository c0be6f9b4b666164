#include "python_program.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string_view>

#include "error.hpp"
#include "posix.hpp"

extern char** environ;

namespace dovetail {

namespace {

using Clock = std::chrono::steady_clock;
constexpr std::size_t most_text = 64 * 1024;

std::string python_name() {
  const char* const named = std::getenv("DOVETAIL_PYTHON");
  return named == nullptr || *named == '\0' ? "python3" : named;
}

// A child that believed itself a rank would wait for the others.
bool tells_a_rank(std::string_view variable) {
  for (const std::string_view prefix : {"PMI", "OMPI_", "PMIX_", "MPI_", "HYDRA", "SLURM_PROCID"}) {
    if (variable.substr(0, prefix.size()) == prefix) return true;
  }
  return false;
}

struct Pipe {
  Pipe() {
    int ends[2];
    if (::pipe2(ends, O_CLOEXEC) != 0) throw_system_error("pipe", "a child program", errno);
    reading = Fd(ends[0]);
    writing = Fd(ends[1]);
  }
  Fd reading, writing;
};

void keep_last(std::string& text) {
  if (text.size() > 2 * most_text) text.erase(0, text.size() - most_text);
}

// What both pipes hold until they end. False at the deadline.
bool read_both(const Pipe& output, const Pipe& errors, ProgramAnswer& answer,
               Clock::time_point deadline) {
  pollfd polled[2] = {{output.reading.get(), POLLIN, 0}, {errors.reading.get(), POLLIN, 0}};
  std::string* const texts[2] = {&answer.output, &answer.errors};
  while (polled[0].fd >= 0 || polled[1].fd >= 0) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0) return false;
    const int ready = ::poll(polled, 2, static_cast<int>(std::min<long long>(left + 1, 1000)));
    if (ready < 0 && errno != EINTR) throw_system_error("poll", "a child program", errno);
    for (int which = 0; ready > 0 && which < 2; ++which) {
      if (polled[which].fd < 0 || polled[which].revents == 0) continue;
      char buffer[4096];
      const auto count = ::read(polled[which].fd, buffer, sizeof buffer);
      if (count > 0) {
        texts[which]->append(buffer, static_cast<std::size_t>(count));
        keep_last(*texts[which]);
      } else if (count == 0 || errno != EINTR) {
        polled[which].fd = -1;
      }
    }
  }
  return true;
}

int exit_status(pid_t child) {
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    // Where the program set SIGCHLD to be ignored, the system has kept no status.
    if (errno == ECHILD) return 0;
    if (errno != EINTR) throw_system_error("waitpid", "a child program", errno);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

std::string ProgramAnswer::last_line() const {
  const auto end = output.find_last_not_of("\n\r ");
  if (end == std::string::npos) return "";
  const auto begin = output.rfind('\n', end);
  return output.substr(begin == std::string::npos ? 0 : begin + 1,
                       end - (begin == std::string::npos ? 0 : begin + 1) + 1);
}

namespace {

pid_t spawned(const std::string& program, const std::vector<std::string>& arguments, int output,
              int errors) {
  std::vector<char*> words{const_cast<char*>(program.c_str())};
  for (const auto& argument : arguments) words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  std::vector<char*> environment;
  for (char** variable = environ; *variable != nullptr; ++variable) {
    if (!tells_a_rank(*variable)) environment.push_back(*variable);
  }
  environment.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  ::posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
  // A group of its own, so that what it starts in turn ends with it.
  posix_spawnattr_t attributes;
  ::posix_spawnattr_init(&attributes);
  ::posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP);
  pid_t child = -1;
  const int failed = ::posix_spawnp(&child, program.c_str(), &actions, &attributes, words.data(),
                                    environment.data());
  ::posix_spawnattr_destroy(&attributes);
  ::posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) {
    throw Error(Status::unavailable, "the program " + program +
                                         " cannot be run: " + std::strerror(failed) +
                                         ". Put a python3 into PATH, or name one with "
                                         "DOVETAIL_PYTHON");
  }
  return child;
}

}  // namespace

void start_python(const std::string& program, const std::vector<std::string>& arguments, int output,
                  int errors) {
  exit_status(spawned(program.empty() ? python_name() : program, arguments, output, errors));
}

ProgramAnswer run_python(const std::vector<std::string>& arguments, double seconds) {
  const auto program = python_name();
  Pipe output, errors;
  const pid_t child = spawned(program, arguments, output.writing.get(), errors.writing.get());
  output.writing.reset();
  errors.writing.reset();

  ProgramAnswer answer;
  const auto deadline = Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                           std::chrono::duration<double>(seconds));
  if (!read_both(output, errors, answer, deadline)) {
    ::kill(-child, SIGKILL);
    exit_status(child);
    throw Error(Status::timeout,
                program + " did not end within " + readable_seconds(seconds) + ": " +
                    (arguments.size() > 1 ? arguments[0] + " " + arguments[1] : ""));
  }
  answer.status = exit_status(child);
  return answer;
}

}  // namespace dovetail
