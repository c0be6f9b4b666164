// The recorder of trace events, for dovetail.observe.
#include "trace.hpp"

#include <nanobind/nanobind.h>
#include <nanobind/stl/string.h>

#include "gil.hpp"

namespace nb = nanobind;

namespace {

// Text that is no UTF-8 (a lone surrogate) has no place in a trace, and must not fail a put.
std::string_view text_of(const nb::str& name) {
  Py_ssize_t size = 0;
  const char* text = PyUnicode_AsUTF8AndSize(name.ptr(), &size);
  if (text != nullptr) return {text, static_cast<std::size_t>(size)};
  PyErr_Clear();
  return "?";
}

void record(std::uint8_t kind, const nb::str& name, std::int64_t start_ns, std::int64_t end_ns,
            std::uint64_t nbytes, std::uint64_t wait_ns) {
  using namespace dovetail::trace;
  if (kind == 0 || kind > 127) throw nb::value_error("the kind of an event is 1 to 127");
  const Event event{kind, text_of(name), start_ns, end_ns, nbytes, wait_ns};
  if (dovetail::trace::record(event) != Outcome::just_stopped) return;
  const std::string message = "the trace of this process ends here: " + stop_reason();
  if (PyErr_WarnEx(PyExc_RuntimeWarning, message.c_str(), 1) != 0) throw nb::python_error();
}

}  // namespace

void bind_trace(nb::module_& m) {
  m.def("trace_start", &dovetail::trace::start, nb::arg("directory"), nb::arg("limit"),
        nb::call_guard<WithoutGil>());
  m.def("trace_stop", &dovetail::trace::stop, nb::call_guard<WithoutGil>());
  m.def("trace_record", &record, nb::arg("kind"), nb::arg("name"), nb::arg("start_ns"),
        nb::arg("end_ns"), nb::arg("nbytes"), nb::arg("wait_ns"));
}
