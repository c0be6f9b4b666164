// The arrays of a call of a model, as Python hands them over and gets them.
#pragma once

#include <nanobind/ndarray.h>

#include <deque>
#include <vector>

#include "binding.hpp"
#include "callable_model.hpp"

using dovetail::ModelArray;
using dovetail::ModelArraySpec;
using dovetail::ModelSpec;

// The arrays of one call: buffers of Python objects, or (buffer, dtype) for bytes that NumPy cannot
// name, or (address, dtype, shape) on the model's device.
class CallArrays {
 public:
  CallArrays() = default;
  CallArrays(const CallArrays&) = delete;
  CallArrays& operator=(const CallArrays&) = delete;
  ~CallArrays();

  // False if an object is no buffer.
  bool take(nb::handle sequence, const std::vector<ModelArraySpec>& specs, const char* role,
            int flags);

  const ModelArray* arrays() const { return arrays_; }
  std::size_t size() const { return size_; }

 private:
  void take_device(PyObject* object, const char* code, ModelArray& array);

  Py_buffer views_[32];
  ModelArray arrays_[32];
  std::deque<std::vector<std::int64_t>> shapes_;
  std::size_t taken_ = 0, size_ = 0;
};

// Weights, as (name, dtype, shape, buffer).
class NamedArrays {
 public:
  explicit NamedArrays(nb::list weights);
  const dovetail::NamedWeights& arrays() const { return arrays_; }

 private:
  Buffers buffers_;
  std::deque<std::vector<std::int64_t>> shapes_;
  dovetail::NamedWeights arrays_;
};

nb::dlpack::dtype element_of(std::int32_t dtype);
nb::list specs_to_python(const std::vector<ModelArraySpec>& arrays, const ModelSpec& spec);
