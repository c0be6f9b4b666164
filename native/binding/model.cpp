// Compiled models for Python: NumPy arrays in, without a copy; the GIL is given up meanwhile.
#include "model.hpp"

#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <cstring>
#include <memory>

#include "binding.hpp"
#include "model_arrays.hpp"

using dovetail::Model;
using dovetail::ModelOptions;
using dovetail::ModelPackage;
using dovetail::ModelResult;

namespace {

nb::object as_array(ModelResult&& result, const dovetail::TorchLibrary& torch) {
  std::int64_t* strides = nullptr;
  torch.strides_of(result.tensor(), &strides);
  auto owned = std::make_unique<ModelResult>(std::move(result));
  const auto& array = owned->array;
  const auto* const shape = reinterpret_cast<const std::size_t*>(array.shape);
  const auto rank = static_cast<std::size_t>(array.rank);
  auto* const data = array.data;
  const auto dtype = element_of(array.dtype);
  nb::capsule owner(owned.get(),
                    [](void* kept) noexcept { delete static_cast<ModelResult*>(kept); });
  owned.release();
  return nb::cast(nb::ndarray<nb::numpy>(data, rank, shape, owner, strides, dtype),
                  nb::rv_policy::reference);
}

// None if an array is no buffer: the caller says it otherwise then.
nb::object run(Model& model, nb::tuple inputs) {
  CallArrays given;
  if (!given.take(inputs, model.spec().inputs, "input", 0)) return nb::none();
  auto results = without_gil([&] { return model.run(given.arrays(), given.size()); });
  const nb::object made = nb::steal(PyTuple_New(static_cast<Py_ssize_t>(results.size())));
  for (std::size_t index = 0; index < results.size(); ++index) {
    PyTuple_SET_ITEM(made.ptr(), static_cast<Py_ssize_t>(index),
                     as_array(std::move(results[index]), *model.package().torch).release().ptr());
  }
  return made;
}

bool run_into(Model& model, nb::tuple inputs, nb::tuple outputs) {
  CallArrays given, room;
  if (!given.take(inputs, model.spec().inputs, "input", 0)) return false;
  if (!room.take(outputs, model.spec().outputs, "array for the output", PyBUF_WRITABLE)) {
    return false;
  }
  without_gil([&] { model.run_into(given.arrays(), given.size(), room.arrays(), room.size()); });
  return true;
}

void replace_weights(Model& model, nb::list weights) {
  const NamedArrays given(weights);
  without_gil([&] { model.replace_weights(given.arrays()); });
}

}  // namespace

void bind_model(nb::module_& module) {
  module.def("available_threads", &dovetail::available_threads,
             "How many threads a model may take beside the other ranks of this node.");
  nb::class_<Model>(module, "Model", "A compiled model in this process.")
      .def(
          "__init__",
          [](Model* self, const std::string& folder, const std::string& torch_folder,
             int device_index, int most_threads) {
            ModelOptions options{torch_folder, device_index, most_threads};
            without_gil(
                [&] { new (self) Model(ModelPackage::load(folder, torch_folder), options); });
          },
          nb::arg("folder"), nb::arg("torch_folder"), nb::arg("device_index"),
          nb::arg("most_threads"))
      .def("another", [](const Model& model) { return without_gil([&] { return model.copy(); }); })
      .def("run", &run)
      .def("run_into", &run_into)
      .def("replace_weights", &replace_weights)
      .def_prop_ro("calls", &Model::calls)
      .def_prop_ro("device", [](const Model& model) { return model.spec().device; })
      .def_prop_ro("one_thread", [](const Model& model) { return model.spec().one_thread; })
      .def_prop_ro("torch", [](const Model& model) { return model.package().torch->version(); })
      .def_prop_ro("inputs",
                   [](const Model& m) { return specs_to_python(m.spec().inputs, m.spec()); })
      .def_prop_ro("outputs",
                   [](const Model& m) { return specs_to_python(m.spec().outputs, m.spec()); })
      .def_prop_ro("weights",
                   [](const Model& m) { return specs_to_python(m.spec().weights, m.spec()); });
}
