// The version of the library, from the build.
#pragma once

namespace dovetail {
#ifndef DOVETAIL_VERSION
#define DOVETAIL_VERSION "0.0.0+unknown"
#endif
constexpr const char* version_string = DOVETAIL_VERSION;
}  // namespace dovetail
