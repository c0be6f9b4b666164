// Python inside the solver.
#include "dovetail/python.h"

#include "calls.hpp"
#include "python_call.hpp"

using namespace dovetail;
using namespace dovetail::abi;

namespace {

thread_local std::string last_answer;

}  // namespace

int dvt_python_call(const char* function, const dvt_array* arrays, int count, const char* settings,
                    const char** answer) {
  return guarded([&] {
    const auto name = text_in(function, "the function");
    if (count < 0 || (count > 0 && arrays == nullptr)) {
      refuse(std::to_string(count) + " arrays are said to be described at " +
             (arrays == nullptr ? "NULL" : "some place"));
    }
    std::vector<GivenArray> given;
    for (int index = 0; index < count; ++index) given.push_back(array_with_data(arrays[index]));
    auto json = call_python(name, given, settings, answer != nullptr);
    if (answer == nullptr) return;
    last_answer = std::move(json);
    *answer = last_answer.c_str();
  });
}
