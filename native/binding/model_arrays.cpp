#include "model_arrays.hpp"

#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <iterator>
#include <string_view>

using dovetail::Error;
using dovetail::Status;

namespace {

// What a Python object holds, in the words of the buffer protocol; 0 for what has no dtype here.
std::int32_t dtype_of(const Py_buffer& view) {
  const char* format = view.format == nullptr ? "B" : view.format;
  if (*format == '@' || *format == '=' || *format == '<') ++format;
  if (std::strcmp(format, "Zf") == 0) return dovetail::model_dtype_of("C64");
  if (std::strcmp(format, "Zd") == 0) return dovetail::model_dtype_of("C128");
  if (format[0] == '\0' || format[1] != '\0') return 0;
  const char size[2] = {static_cast<char>('0' + view.itemsize), '\0'};
  switch (*format) {
    case '?':
      return dovetail::model_dtype_of("BOOL");
    case 'e':
      return dovetail::model_dtype_of("F16");
    case 'f':
      return dovetail::model_dtype_of("F32");
    case 'd':
      return dovetail::model_dtype_of("F64");
    case 'b':
    case 'h':
    case 'i':
    case 'l':
    case 'q':
      return size[0] == '1'   ? dovetail::model_dtype_of("I8")
             : size[0] == '2' ? dovetail::model_dtype_of("I16")
             : size[0] == '4' ? dovetail::model_dtype_of("I32")
                              : dovetail::model_dtype_of("I64");
    case 'B':
    case 'H':
    case 'I':
    case 'L':
    case 'Q':
      return size[0] == '1'   ? dovetail::model_dtype_of("U8")
             : size[0] == '2' ? dovetail::model_dtype_of("U16")
             : size[0] == '4' ? dovetail::model_dtype_of("U32")
                              : dovetail::model_dtype_of("U64");
    default:
      return 0;
  }
}

}  // namespace

CallArrays::~CallArrays() {
  for (std::size_t index = 0; index < taken_; ++index) PyBuffer_Release(&views_[index]);
}

bool CallArrays::take(nb::handle sequence, const std::vector<ModelArraySpec>& specs,
                      const char* role, int flags) {
  const auto count = static_cast<std::size_t>(PyTuple_GET_SIZE(sequence.ptr()));
  if (count > std::size(views_)) throw Error(Status::argument, "a call takes at most 32 arrays");
  for (; size_ < count; ++size_) {
    const auto name = size_ < specs.size() ? specs[size_].name : std::to_string(size_);
    PyObject* object = PyTuple_GET_ITEM(sequence.ptr(), static_cast<Py_ssize_t>(size_));
    ModelArray& array = arrays_[size_];
    const char* code = nullptr;
    if (PyTuple_CheckExact(object)) {
      code = PyUnicode_AsUTF8(PyTuple_GET_ITEM(object, 1));
      if (PyTuple_GET_SIZE(object) == 3) {
        take_device(object, code, array);
        continue;
      }
      object = PyTuple_GET_ITEM(object, 0);
    }
    if (!PyObject_CheckBuffer(object)) return false;
    Py_buffer& view = views_[taken_];
    if (PyObject_GetBuffer(object, &view, flags | PyBUF_FORMAT | PyBUF_STRIDES) != 0) {
      PyErr_Clear();
      return false;
    }
    ++taken_;
    if (PyBuffer_IsContiguous(&view, 'C') == 0) {
      throw Error(Status::argument, std::string("the ") + role + " " + name +
                                        " has gaps, or another order than row-major: pass "
                                        "numpy.ascontiguousarray(…) of it");
    }
    array.dtype = code == nullptr ? dtype_of(view) : dovetail::model_dtype_of(code);
    if (array.dtype == 0) {
      throw Error(Status::argument, std::string("the ") + role + " " + name +
                                        " has elements of a kind that no model takes ('" +
                                        (view.format == nullptr ? "" : view.format) + "')");
    }
    array.data = view.buf;
    array.rank = view.ndim;
    static_assert(sizeof(Py_ssize_t) == sizeof(std::int64_t));
    array.shape = reinterpret_cast<const std::int64_t*>(view.shape);
  }
  return true;
}

void CallArrays::take_device(PyObject* object, const char* code, ModelArray& array) {
  const auto shape = nb::cast<std::vector<std::int64_t>>(nb::handle(PyTuple_GET_ITEM(object, 2)));
  shapes_.push_back(shape);
  array.data = PyLong_AsVoidPtr(PyTuple_GET_ITEM(object, 0));
  array.dtype = dovetail::model_dtype_of(code);
  array.rank = static_cast<std::int32_t>(shape.size());
  array.shape = shapes_.back().data();
  array.on_device = true;
}

NamedArrays::NamedArrays(nb::list weights) {
  for (const nb::handle item : weights) {
    const auto fields = nb::borrow<nb::tuple>(item);
    const auto& shape = shapes_.emplace_back(nb::cast<std::vector<std::int64_t>>(fields[2]));
    ModelArray array;
    array.dtype = dovetail::model_dtype_of(nb::cast<std::string>(fields[1]));
    array.rank = static_cast<std::int32_t>(shape.size());
    array.shape = shape.data();
    array.data = buffers_.take(fields[3]).buf;
    arrays_.emplace_back(nb::cast<std::string>(fields[0]), array);
  }
}

nb::dlpack::dtype element_of(std::int32_t dtype) {
  const std::string_view name = dovetail::model_dtype_name(dtype);
  const auto bits = static_cast<std::uint8_t>(8 * dovetail::model_item_bytes(dtype));
  using Code = nb::dlpack::dtype_code;
  Code code = Code::UInt;  // bfloat16 goes as its bits
  if (name == "bool") code = Code::Bool;
  if (name.substr(0, 3) == "int") code = Code::Int;
  if (name.substr(0, 5) == "float") code = Code::Float;
  if (name.substr(0, 7) == "complex") code = Code::Complex;
  return {static_cast<std::uint8_t>(code), bits, 1};
}

nb::list specs_to_python(const std::vector<ModelArraySpec>& arrays, const ModelSpec& spec) {
  nb::list list;
  for (const auto& array : arrays) {
    if (!array.told) continue;
    nb::list shape;
    for (const auto& extent : array.shape) {
      if (extent.number >= 0) {
        shape.append(extent.number);
      } else if (extent.name >= 0) {
        shape.append(spec.names[static_cast<std::size_t>(extent.name)].name);
      } else {
        shape.append(nb::none());
      }
    }
    list.append(nb::make_tuple(array.name, array.code, nb::tuple(shape)));
  }
  return list;
}
