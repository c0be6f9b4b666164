// Errors of the core become those of dovetail.errors.
#include <cerrno>

#include "binding.hpp"
#include "error.hpp"

using dovetail::Error;
using dovetail::Status;

namespace {

const char* class_of(Status status) {
  switch (status) {
    case Status::invalid_url:
      return "InvalidURLError";
    case Status::invalid_key:
      return "InvalidKeyError";
    case Status::unsupported:
      return "UnsupportedDataError";
    case Status::coverage:
      return "CoverageError";
    case Status::key_not_found:
      return "KeyNotFoundError";
    case Status::full:
      return "StoreFullError";
    case Status::corrupt:
      return "CorruptDataError";
    case Status::format_version:
      return "FormatVersionError";
    case Status::timeout:
      return "TransportTimeoutError";
    case Status::closed:
      return "TransportClosedError";
    case Status::stopped:
      return "StreamStoppedError";
    case Status::peer_lost:
      return "PeerLostError";
    case Status::expelled:
      return "ReaderExpelledError";
    case Status::busy:
      return "StreamBusyError";
    case Status::capability:
      return "CapabilityError";
    case Status::access:
      return "AccessDeniedError";
    case Status::unavailable:
      return "EngineUnavailableError";
    case Status::model_failed:
      return "ModelFailedError";
    case Status::python_failed:  // of other languages alone
      return "DovetailError";
    case Status::argument:
      return nullptr;
    case Status::system:
      return nullptr;
  }
  return nullptr;
}

void translate(const std::exception_ptr& pointer, void*) {
  try {
    std::rethrow_exception(pointer);
  } catch (const Error& error) {
    if (error.status == Status::argument) {
      PyErr_SetString(PyExc_ValueError, error.what());
      return;
    }
    const char* name = class_of(error.status);
    if (name == nullptr) {
      // The closest built-in OSError: PermissionError, FileNotFoundError…
      PyErr_SetObject(PyExc_OSError, nb::make_tuple(error.system_error, error.what()).ptr());
      return;
    }
    const nb::object kind = nb::module_::import_("dovetail.errors").attr(name);
    if (error.status == Status::full) {
      PyErr_SetObject(kind.ptr(), nb::make_tuple(ENOSPC, error.what()).ptr());
    } else {
      PyErr_SetString(kind.ptr(), error.what());
    }
  }
}

}  // namespace

void bind_errors(nb::module_&) { nb::register_exception_translator(translate); }
