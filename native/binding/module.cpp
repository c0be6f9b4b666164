// dovetail._native: the native core for Python.
#include "binding.hpp"
#include "version.hpp"

NB_MODULE(_native, module) {
  module.doc() = "The native core of Dovetail. Use the dovetail package, not this module.";
  // What threads that never end still hold at exit is no leak that a user could mend.
  nb::set_leak_warnings(false);
  module.attr("__version__") = dovetail::version_string;
  bind_errors(module);
  bind_format(module);
  bind_memory(module);
  bind_model(module);
  bind_shared_model(module);
  bind_store(module);
  bind_stream(module);
  bind_trace(module);
}
