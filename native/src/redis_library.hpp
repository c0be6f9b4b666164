// The part of this library that speaks with servers, which is there if hiredis was when it was
// built.
#pragma once

#include "redis_wire.h"

namespace dovetail::redis {

// Loaded once. Throws Error(Status::unavailable) that says what to install.
const dovetail_redis_wire& wire();

}  // namespace dovetail::redis
