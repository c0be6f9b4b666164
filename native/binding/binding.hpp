// What the files of the Python binding share.
#pragma once

#include <nanobind/nanobind.h>

#include "bell.hpp"
#include "error.hpp"
#include "gil.hpp"
#include "memory.hpp"
#include "safetensors.hpp"

namespace nb = nanobind;

void bind_errors(nb::module_& module);
void bind_format(nb::module_& module);
void bind_memory(nb::module_& module);
void bind_model(nb::module_& module);
void bind_shared_model(nb::module_& module);
void bind_store(nb::module_& module);
void bind_stream(nb::module_& module);
void bind_trace(nb::module_& module);

// To be called between slices of a wait, without the GIL: raises what a signal handler raised.
void check_signals();

// Releases the buffers it took when it goes.
class Buffers {
 public:
  Buffers() = default;
  Buffers(const Buffers&) = delete;
  Buffers& operator=(const Buffers&) = delete;
  ~Buffers();
  // A contiguous buffer of a Python object; raises BufferError.
  const Py_buffer& take(nb::handle object);

 private:
  std::vector<std::unique_ptr<Py_buffer>> taken_;
};

// Pieces from Python's (name, dtype, stored shape, buffer or None); `buffers` keeps the bytes, the
// Python objects keep the text.
std::vector<dovetail::Piece> pieces_from(nb::handle sequence, Buffers& buffers);
dovetail::Metadata metadata_from(nb::handle mapping);
// (number, entries, metadata): the same object for the same header, while it is fresh.
nb::object header_to_python(const dovetail::Header& header);
