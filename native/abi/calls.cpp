#include "calls.hpp"

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <mutex>
#include <new>

#include "clock.hpp"
#include "trace.hpp"
#include "utf8.hpp"
#include "version.hpp"

namespace dovetail::abi {
namespace {

// One place a thread: a pointer to it is good for as long as the thread.
thread_local char last_error[4096] = "";
thread_local int last_errno = 0;

int status_of(Status status) {
  switch (status) {
    case Status::argument:
      return DVT_ARGUMENT;
    case Status::invalid_url:
      return DVT_INVALID_URL;
    case Status::invalid_key:
      return DVT_INVALID_KEY;
    case Status::unsupported:
      return DVT_UNSUPPORTED;
    case Status::coverage:
      return DVT_COVERAGE;
    case Status::key_not_found:
      return DVT_ABSENT;
    case Status::full:
      return DVT_FULL;
    case Status::corrupt:
      return DVT_CORRUPT;
    case Status::format_version:
      return DVT_FORMAT_VERSION;
    case Status::timeout:
      return DVT_TIMEOUT;
    case Status::closed:
      return DVT_CLOSED;
    case Status::stopped:
      return DVT_STOPPED;
    case Status::peer_lost:
      return DVT_LOST;
    case Status::expelled:
      return DVT_EXPELLED;
    case Status::busy:
      return DVT_BUSY;
    case Status::capability:
      return DVT_CAPABILITY;
    case Status::access:
      return DVT_ACCESS;
    case Status::unavailable:
      return DVT_UNAVAILABLE;
    case Status::model_failed:
      return DVT_MODEL_FAILED;
    case Status::python_failed:
      return DVT_PYTHON_FAILED;
    case Status::system:
      return DVT_SYSTEM;
  }
  return DVT_INTERNAL;
}

int note(int status, const char* message, int system_error) noexcept {
  last_errno = system_error;
  auto bytes = std::min(std::strlen(message), sizeof last_error - 1);
  while (bytes > 0 && (static_cast<unsigned char>(message[bytes]) & 0xC0) == 0x80) --bytes;
  std::memcpy(last_error, message, bytes);
  last_error[bytes] = '\0';
  if (is_utf8(last_error)) return status;
  // It quotes what somebody handed over as text.
  for (auto* byte = last_error; *byte != '\0'; ++byte) {
    if (static_cast<unsigned char>(*byte) >= 0x80) *byte = '?';
  }
  return status;
}

void start_trace_if_asked() {
  static std::once_flag once;
  std::call_once(once, [] {
    const char* const folder = std::getenv("DOVETAIL_TRACE");
    if (folder == nullptr || *folder == '\0') return;
    try {
      trace::start(folder);
      std::atexit([] { trace::stop(); });
    } catch (const Error&) {  // nothing is recorded, and the work goes on
    }
  });
}

Extents extents_in(const std::int64_t* numbers, int rank) { return {numbers, numbers + rank}; }

}  // namespace

int note(const Error& error) noexcept {
  return note(status_of(error.status), error.what(), error.system_error);
}

int note_current_exception() noexcept {
  try {
    throw;
  } catch (const std::bad_alloc&) {
    return note(DVT_SYSTEM, "this process has no memory left", ENOMEM);
  } catch (const std::exception& error) {
    return note(DVT_INTERNAL, error.what(), 0);
  } catch (...) {
    return note(DVT_INTERNAL, "an unknown exception", 0);
  }
}

void refuse(const std::string& message) { throw Error(Status::argument, message); }

std::string text_in(const char* text, const char* name) {
  if (text == nullptr) refuse(std::string(name) + " is NULL: a text is needed");
  return text;
}

std::string key_in(const char* key) {
  auto text = text_in(key, "the key");
  if (!is_utf8(text)) {
    throw Error(Status::invalid_key, "the key '" + text.substr(0, 80) + "' is not UTF-8");
  }
  return text;
}

double deadline_in(double timeout) {
  if (std::isnan(timeout)) refuse("a deadline is a number of seconds, or DVT_FOR_EVER; it is nan");
  constexpr double longest = 1e9;
  return timeout < 0 || timeout >= longest ? DVT_FOR_EVER : timeout;
}

GivenArray array_in(const dvt_array& array) {
  GivenArray given;
  given.name = array.name == nullptr ? "value" : array.name;
  if (!is_utf8(given.name)) {
    throw Error(Status::unsupported,
                "the array name '" + given.name.substr(0, 80) + "' is not UTF-8");
  }
  const auto about = "'" + given.name + "': ";
  if (!is_dtype(array.dtype)) {
    throw Error(Status::unsupported,
                about + "the dtype " + std::to_string(array.dtype) + " is none of dvt_dtype");
  }
  given.dtype = static_cast<Dtype>(array.dtype);
  if (array.rank < 0 || array.rank > static_cast<int>(most_axes)) {
    refuse(about + "the rank is " + std::to_string(array.rank) + "; it is 0 to " +
           std::to_string(most_axes));
  }
  if (array.rank > 0 && array.shape == nullptr) {
    refuse(about + "shape is NULL, and the rank is " + std::to_string(array.rank));
  }
  if (array.order != DVT_ROW_MAJOR && array.order != DVT_COLUMN_MAJOR) {
    refuse(about + "the order " + std::to_string(array.order) + " is none of dvt_order");
  }
  if ((array.global_shape == nullptr) != (array.start == nullptr)) {
    throw Error(Status::coverage, about + "give both global_shape and start, or neither");
  }
  if (array.rank > 0) given.shape = extents_in(array.shape, array.rank);
  const auto item = item_bytes(given.dtype);
  count_of(given.shape, item, given.name);
  if (array.strides != nullptr && array.rank > 0) {
    given.strides = extents_in(array.strides, array.rank);
  } else {
    given.strides = dense_strides(given.shape, item, static_cast<Order>(array.order));
  }
  if (array.global_shape != nullptr) {
    given.place =
        Place{extents_in(array.global_shape, array.rank), extents_in(array.start, array.rank)};
  }
  given.data = static_cast<const std::uint8_t*>(array.data);
  return given;
}

GivenArray array_with_data(const dvt_array& array) {
  auto given = array_in(array);
  if (given.data == nullptr && count_of(given.shape, 1, given.name) != 0) {
    refuse("'" + given.name + "': data is NULL, and the array has elements");
  }
  return given;
}

dvt_array shown(const std::string& name, Dtype dtype, const Extents& shape, const Extents& strides,
                const void* data) {
  dvt_array array{};
  array.name = name.c_str();
  array.data = const_cast<void*>(data);
  array.dtype = static_cast<std::int32_t>(dtype);
  array.rank = static_cast<std::int32_t>(shape.size());
  array.shape = shape.data();
  array.strides = strides.data();
  const auto item = item_bytes(dtype);
  const bool column_major = !is_dense(shape, strides, item, Order::row_major) &&
                            is_dense(shape, strides, item, Order::column_major);
  array.order = column_major ? DVT_COLUMN_MAJOR : DVT_ROW_MAJOR;
  return array;
}

dvt_array shown(const Variable& variable, const std::uint8_t* value) {
  auto array = shown(variable.name, variable.dtype, variable.shape, variable.strides,
                     value == nullptr ? nullptr : value + variable.offset);
  if (variable.place) {
    array.global_shape = variable.place->shape.data();
    array.start = variable.place->start.data();
  }
  return array;
}

Traced::Traced() : Traced(0) {
  if (trace::recording()) started_ = wall_clock_ns();
}

Traced::Traced(std::int64_t started_ns) {
  start_trace_if_asked();
  if (trace::recording()) started_ = started_ns;
}

std::int64_t Traced::elapsed_ns() const { return started_ == 0 ? 0 : wall_clock_ns() - started_; }

void Traced::record(Event event, const std::string& name, std::uint64_t nbytes,
                    std::int64_t wait_ns) {
  if (started_ == 0) return;
  trace::record(
      {event, name, started_, wall_clock_ns(), nbytes, static_cast<std::uint64_t>(wait_ns)});
}

}  // namespace dovetail::abi

const char* dvt_version(void) { return dovetail::version_string; }
const char* dvt_last_error(void) { return dovetail::abi::last_error; }
int dvt_last_errno(void) { return dovetail::abi::last_errno; }

const char* dvt_status_name(int status) {
  constexpr const char* names[] = {
      "ok",       "argument",     "invalid URL",    "invalid key", "unsupported",
      "coverage", "capability",   "unavailable",    "access",      "absent",
      "full",     "corrupt",      "format version", "timeout",     "closed",
      "stopped",  "lost",         "expelled",       "busy",        "system",
      "internal", "model failed", "python failed"};
  if (status == DVT_END) return "end";
  if (status > 0 || -status >= static_cast<int>(std::size(names))) return "unknown";
  return names[-status];
}

int64_t dvt_item_bytes(int dtype) {
  return dovetail::is_dtype(dtype) ? dovetail::item_bytes(static_cast<dovetail::Dtype>(dtype)) : 0;
}
const char* dvt_dtype_name(int dtype) {
  return dovetail::is_dtype(dtype) ? dovetail::name_of(static_cast<dovetail::Dtype>(dtype))
                                   : "none";
}
