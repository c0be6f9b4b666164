// A call of a function of Python with the caller's arrays.
#pragma once

#include <string>
#include <vector>

#include "variables.hpp"

namespace dovetail {

// Calls "module:function" with views of the arrays, under their names, and with the members of
// `settings`, a JSON object as text or NULL. Gives what it returned, as JSON, if that is `wanted`.
// Throws Error with Status::argument, unavailable or python_failed.
std::string call_python(const std::string& function, const std::vector<GivenArray>& arrays,
                        const char* settings, bool wanted);

}  // namespace dovetail
