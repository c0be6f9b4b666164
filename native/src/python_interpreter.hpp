// The Python of this process: the one that runs here already, or one that is started for it.
#pragma once

#include <string>

namespace dovetail {

struct PythonAnswer {
  // ok: `text` is JSON, or empty if no answer was asked for. The others: what went wrong.
  enum class Outcome { ok, unavailable, failed } outcome;
  std::string text;
};

// Hands a request, as python_calls.hpp takes it, to Python; from any thread. The interpreter is
// found and started when it is first needed. Throws Error(Status::unavailable) if there is none.
PythonAnswer ask_interpreter(const std::string& request);

}  // namespace dovetail
