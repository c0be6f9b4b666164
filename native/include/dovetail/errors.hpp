// The errors of Dovetail in C++: one tree, as in Python.
#pragma once

#include <stdexcept>
#include <string>

#include "dovetail.h"

namespace dovetail {

// --8<-- [start:tree]
class Error : public std::runtime_error {
 public:
  Error(int status, const std::string& message) : std::runtime_error(message), status_(status) {}
  int status() const noexcept { return status_; }  // a dvt_status

 private:
  int status_;
};

// clang-format off
struct ArgumentError : Error { using Error::Error; };           // a number out of range, a NULL
struct InvalidUrlError : Error { using Error::Error; };         // an unknown scheme or option
struct InvalidKeyError : Error { using Error::Error; };         // a key that is not UTF-8
struct UnsupportedDataError : Error { using Error::Error; };    // what the format cannot hold
struct CoverageError : Error { using Error::Error; };           // blocks leave a gap, or overlap
struct CapabilityError : Error { using Error::Error; };         // the engine cannot keep that
struct EngineUnavailableError : Error { using Error::Error; };  // not reached from here
struct AccessDeniedError : Error { using Error::Error; };       // a server did not let us in
struct KeyNotFoundError : Error { using Error::Error; };        // nothing under this key or name
struct StoreFullError : Error { using Error::Error; };          // no room; nothing was lost
struct CorruptDataError : Error { using Error::Error; };        // bytes that are no sound value
struct FormatVersionError : CorruptDataError { using CorruptDataError::CorruptDataError; };
struct TransportTimeoutError : Error { using Error::Error; };   // a deadline passed
struct TransportClosedError : Error { using Error::Error; };    // used after it was closed here
struct StreamStoppedError : TransportClosedError { using TransportClosedError::TransportClosedError; };
struct PeerLostError : Error { using Error::Error; };           // the other side died or failed
struct ReaderExpelledError : Error { using Error::Error; };     // held the producer up too long
struct StreamBusyError : Error { using Error::Error; };         // it has a writer, or unread steps
struct ModelFailedError : Error { using Error::Error; };        // it could not be compiled or run
struct PythonFailedError : Error { using Error::Error; };       // what it called raised
// clang-format on

class SystemError : public Error {  // the system refused
 public:
  SystemError(int status, const std::string& message, int number)
      : Error(status, message), number_(number) {}
  int number() const noexcept { return number_; }  // errno

 private:
  int number_;
};
// --8<-- [end:tree]

namespace detail {

[[noreturn]] inline void raise(int status) {
  const std::string message = dvt_last_error();
  switch (status) {
    case DVT_ARGUMENT:
      throw ArgumentError(status, message);
    case DVT_INVALID_URL:
      throw InvalidUrlError(status, message);
    case DVT_INVALID_KEY:
      throw InvalidKeyError(status, message);
    case DVT_UNSUPPORTED:
      throw UnsupportedDataError(status, message);
    case DVT_COVERAGE:
      throw CoverageError(status, message);
    case DVT_CAPABILITY:
      throw CapabilityError(status, message);
    case DVT_UNAVAILABLE:
      throw EngineUnavailableError(status, message);
    case DVT_ACCESS:
      throw AccessDeniedError(status, message);
    case DVT_ABSENT:
      throw KeyNotFoundError(status, message);
    case DVT_FULL:
      throw StoreFullError(status, message);
    case DVT_CORRUPT:
      throw CorruptDataError(status, message);
    case DVT_FORMAT_VERSION:
      throw FormatVersionError(status, message);
    case DVT_TIMEOUT:
      throw TransportTimeoutError(status, message);
    case DVT_CLOSED:
      throw TransportClosedError(status, message);
    case DVT_STOPPED:
      throw StreamStoppedError(status, message);
    case DVT_LOST:
      throw PeerLostError(status, message);
    case DVT_EXPELLED:
      throw ReaderExpelledError(status, message);
    case DVT_BUSY:
      throw StreamBusyError(status, message);
    case DVT_MODEL_FAILED:
      throw ModelFailedError(status, message);
    case DVT_PYTHON_FAILED:
      throw PythonFailedError(status, message);
    case DVT_SYSTEM:
      throw SystemError(status, message, dvt_last_errno());
    default:
      throw Error(status, message);
  }
}

// DVT_OK or DVT_END; what is negative is thrown.
inline int check(int status) {
  if (status < 0) raise(status);
  return status;
}

}  // namespace detail
}  // namespace dovetail
