// Values as Python objects: a Memory exports a buffer, and counts its views.
#include <nanobind/stl/shared_ptr.h>
#include <nanobind/stl/string.h>

#include "binding.hpp"

using dovetail::Memory;

namespace {

int get_buffer(PyObject* object, Py_buffer* view, int flags) {
  auto* const memory = nb::inst_ptr<Memory>(nb::handle(object));
  const bool wants_writable = (flags & PyBUF_WRITABLE) == PyBUF_WRITABLE;
  if (wants_writable && !memory->writable()) {
    view->obj = nullptr;
    PyErr_SetString(PyExc_BufferError, "what a store or stream holds is read-only");
    return -1;
  }
  const int result =
      PyBuffer_FillInfo(view, object, memory->writable_data(),
                        static_cast<Py_ssize_t>(memory->size()), memory->writable() ? 0 : 1, flags);
  if (result == 0) memory->exports.fetch_add(1);
  return result;
}

void release_buffer(PyObject* object, Py_buffer*) {
  nb::inst_ptr<Memory>(nb::handle(object))->exports.fetch_sub(1);
}

PyType_Slot memory_slots[] = {
    {Py_bf_getbuffer, reinterpret_cast<void*>(get_buffer)},
    {Py_bf_releasebuffer, reinterpret_cast<void*>(release_buffer)},
    {0, nullptr},
};

}  // namespace

void bind_memory(nb::module_& module) {
  nb::class_<Memory>(module, "Memory", nb::type_slots(memory_slots),
                     "The bytes of a value. Exports a buffer; holds a lease while it lives.")
      .def("private", &Memory::copy_on_write,
           "Another, writable mapping of the same bytes, or None. Writing changes nobody else's.")
      .def_prop_ro("writable", &Memory::writable)
      .def_prop_ro("size", &Memory::size)
      .def_prop_ro("exports", [](const Memory& memory) { return memory.exports.load(); });
}

void check_signals() {
  WithoutGil::interrupt([] {
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
  });
}

Buffers::~Buffers() {
  for (auto& buffer : taken_) PyBuffer_Release(buffer.get());
}

const Py_buffer& Buffers::take(nb::handle object) {
  auto buffer = std::make_unique<Py_buffer>();
  if (PyObject_GetBuffer(object.ptr(), buffer.get(), PyBUF_ANY_CONTIGUOUS) != 0) {
    throw nb::python_error();
  }
  taken_.push_back(std::move(buffer));
  return *taken_.back();
}

namespace {

std::string_view text_of(nb::handle object) {
  Py_ssize_t size = 0;
  const char* text = PyUnicode_AsUTF8AndSize(object.ptr(), &size);
  if (text == nullptr) throw nb::python_error();
  return {text, static_cast<std::size_t>(size)};
}

}  // namespace

std::vector<dovetail::Piece> pieces_from(nb::handle sequence, Buffers& buffers) {
  std::vector<dovetail::Piece> pieces;
  for (const nb::handle item : sequence) {
    const auto fields = nb::borrow<nb::tuple>(item);
    dovetail::Piece piece;
    piece.name = text_of(fields[0]);
    piece.dtype = text_of(fields[1]);
    for (const nb::handle extent : nb::borrow<nb::tuple>(fields[2])) {
      piece.shape.push_back(nb::cast<std::uint64_t>(extent));
    }
    const nb::handle data = fields[3];
    if (!data.is_none()) {
      const auto& buffer = buffers.take(data);
      piece.data = buffer.buf;
      piece.nbytes = static_cast<std::uint64_t>(buffer.len);
    }
    pieces.push_back(std::move(piece));
  }
  return pieces;
}

dovetail::Metadata metadata_from(nb::handle mapping) {
  dovetail::Metadata metadata;
  for (const auto& [key, text] : nb::borrow<nb::dict>(mapping)) {
    metadata.emplace_back(text_of(key), text_of(text));
  }
  return metadata;
}

namespace {

nb::list entries_to_python(const std::vector<dovetail::Entry>& entries) {
  nb::list list;
  for (const auto& entry : entries) {
    const auto rank = entry.shape.size();
    const nb::object shape = nb::steal(PyTuple_New(static_cast<Py_ssize_t>(rank)));
    for (std::size_t axis = 0; axis < rank; ++axis) {
      PyTuple_SET_ITEM(shape.ptr(), static_cast<Py_ssize_t>(axis),
                       PyLong_FromUnsignedLongLong(entry.shape[axis]));
    }
    list.append(nb::make_tuple(nb::str(entry.name.data(), entry.name.size()),
                               nb::str(entry.dtype.data(), entry.dtype.size()), shape, entry.offset,
                               entry.nbytes));
  }
  return list;
}

nb::dict metadata_to_python(const dovetail::Metadata& metadata) {
  nb::dict dict;
  for (const auto& [key, text] : metadata) {
    dict[nb::str(key.data(), key.size())] = nb::str(text.data(), text.size());
  }
  return dict;
}

}  // namespace

nb::object header_to_python(const dovetail::Header& header) {
  // Never released: Python may be gone when this library is.
  struct Made {
    std::uint64_t number;
    PyObject* object;
  };
  static Made lately[64] = {};
  auto& made = lately[header.number % std::size(lately)];
  if (header.number != 0 && made.number == header.number) return nb::borrow(made.object);
  nb::object object = nb::make_tuple(header.number, entries_to_python(header.entries),
                                     metadata_to_python(header.metadata));
  if (header.number != 0) {
    Py_XDECREF(made.object);
    made = {header.number, nb::object(object).release().ptr()};
  }
  return object;
}
