// Every failure of the core is one exception type with a status that each language maps to its own
// errors. Nothing here ever calls exit().
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace dovetail {

enum class Status {
  argument,
  invalid_url,
  invalid_key,
  unsupported,
  coverage,
  key_not_found,
  full,
  corrupt,
  format_version,
  timeout,
  closed,
  stopped,
  peer_lost,
  expelled,
  busy,
  capability,
  unavailable,
  access,         // a server did not let us in
  model_failed,   // torch or its compiler refused; the message ends with what it said
  python_failed,  // a function of Python raised; the message ends with its traceback
  system,         // an unexpected answer of the operating system; `system_error` holds errno
};

class Error : public std::runtime_error {
 public:
  Error(Status status, const std::string& message, int system_error = 0)
      : std::runtime_error(message), status(status), system_error(system_error) {}

  const Status status;
  const int system_error;
};

}  // namespace dovetail
