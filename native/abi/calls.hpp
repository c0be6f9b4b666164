// The boundary: what every exported function does on its way in and out.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <type_traits>

#include "arrays.hpp"
#include "bell.hpp"
#include "dovetail/dovetail.h"
#include "error.hpp"
#include "variables.hpp"

namespace dovetail::abi {

// Notes what went wrong for dvt_last_error().
int note(const Error& error) noexcept;
int note_current_exception() noexcept;

// Runs the body of an exported function: whatever it throws becomes a status.
template <class Body>
int guarded(Body body) noexcept {
  try {
    if constexpr (std::is_void_v<decltype(body())>) {
      body();
      return DVT_OK;
    } else {
      return body();
    }
  } catch (const Error& error) {
    return note(error);
  } catch (...) {
    return note_current_exception();
  }
}

[[noreturn]] void refuse(const std::string& message);  // Error(Status::argument)
// Throws if a result has no place to go, or a text is missing.
template <class Result>
Result& result(Result* place, const char* name) {
  if (place == nullptr) refuse(std::string(name) + " is NULL: nowhere to put the result");
  return *place;
}
std::string text_in(const char* text, const char* name);
// A key, or the name of a list: UTF-8.
std::string key_in(const char* key);
double deadline_in(double timeout);

// Nothing interrupts a wait: signals have their default actions, or their own handlers.
inline void uninterrupted() {}

// What a caller described, checked.
GivenArray array_in(const dvt_array& array);
GivenArray array_with_data(const dvt_array& array);
// A described array; the extents stay the variable's.
dvt_array shown(const std::string& name, Dtype dtype, const Extents& shape, const Extents& strides,
                const void* data);
dvt_array shown(const Variable& variable, const std::uint8_t* value);

// Records an event of this process, if DOVETAIL_TRACE asks for it.
class Traced {
 public:
  enum Event : std::uint8_t { put = 1, get = 2, wait = 3, write_step = 4, read_step = 5 };
  Traced();
  explicit Traced(std::int64_t started_ns);  // of what began in an earlier call
  void record(Event event, const std::string& name, std::uint64_t nbytes, std::int64_t wait_ns = 0);
  std::int64_t elapsed_ns() const;

 private:
  std::int64_t started_ = 0;  // 0: nothing is recorded
};

}  // namespace dovetail::abi
