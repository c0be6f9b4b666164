// Compiling an exported model for this machine, which the user's Python does.
#pragma once

#include <string>

namespace dovetail {

// The folder of a compiled model: `path` itself if it is one, else what Python's Dovetail finds in
// its cache or compiles within `seconds`. `device` may be auto. Throws Error.
std::string compiled_folder(const std::string& path, const std::string& device, bool one_thread,
                            double seconds);

}  // namespace dovetail
