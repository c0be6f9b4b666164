// Asking the user's Python: where its torch is, or to compile a model.
#pragma once

#include <string>
#include <vector>

namespace dovetail {

struct ProgramAnswer {
  int status = -1;     // of the exit; 128 + the number of a signal
  std::string output;  // what it printed on the standard output, at most 64 KiB
  std::string errors;  // and on the standard error, at most the last 64 KiB
  std::string last_line() const;
};

// Runs DOVETAIL_PYTHON, or else python3 in PATH, and waits for it; what a launcher told this
// process about its rank is kept from it. Throws Error(Status::unavailable) if there is none, and
// Error(Status::timeout), the program ended, after `seconds`.
ProgramAnswer run_python(const std::vector<std::string>& arguments, double seconds);

// Starts the same, or `program` if it is not empty, with its standard output and errors at these
// descriptors, and returns when that has ended, which leaves a process of its own behind.
void start_python(const std::string& program, const std::vector<std::string>& arguments, int output,
                  int errors);

}  // namespace dovetail
