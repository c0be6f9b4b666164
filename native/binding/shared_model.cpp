// Models that the ranks of a node share, for Python; and the process that computes them.
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/unique_ptr.h>
#include <nanobind/stl/vector.h>

#include <memory>

#include "binding.hpp"
#include "model_arrays.hpp"
#include "model_client.hpp"
#include "model_serving.hpp"

using dovetail::OwnedArray;
using dovetail::SharedModel;
using dovetail::SharedModelOptions;

namespace {

nb::object as_array(OwnedArray&& array) {
  auto owned = std::make_unique<OwnedArray>(std::move(array));
  const std::vector<std::size_t> shape(owned->shape.begin(), owned->shape.end());
  auto* const kept = owned.get();
  nb::capsule owner(kept, [](void* made) noexcept { delete static_cast<OwnedArray*>(made); });
  owned.release();
  return nb::cast(nb::ndarray<nb::numpy>(kept->bytes.data(), shape.size(), shape.data(), owner,
                                         nullptr, element_of(kept->dtype)),
                  nb::rv_policy::reference);
}

// None if an array is no buffer: the caller says it otherwise then.
nb::object run(SharedModel& model, nb::tuple inputs) {
  CallArrays given;
  if (!given.take(inputs, model.spec().inputs, "input", 0)) return nb::none();
  auto results = without_gil([&] { return model.run(given.arrays(), given.size()); });
  nb::list made;
  for (auto& result : results) made.append(as_array(std::move(result)));
  return nb::tuple(made);
}

bool run_into(SharedModel& model, nb::tuple inputs, nb::tuple outputs) {
  CallArrays given, room;
  if (!given.take(inputs, model.spec().inputs, "input", 0)) return false;
  if (!room.take(outputs, model.spec().outputs, "array for the output", PyBUF_WRITABLE)) {
    return false;
  }
  without_gil(
      [&] { model.run_into(given.arrays(), given.size(), room.arrays(), room.size(), false); });
  return true;
}

void replace_weights(SharedModel& model, nb::list weights) {
  const NamedArrays given(weights);
  without_gil([&] { model.replace_weights(given.arrays()); });
}

}  // namespace

void bind_shared_model(nb::module_& module) {
  module.def(
      "serve_model",
      [](const std::string& folder, const std::string& torch_folder, int device_index,
         int most_threads, const std::string& place, double gather, bool join, int announce) {
        const WithoutGil released;
        dovetail::serve_model(folder, {torch_folder, device_index, most_threads},
                              {place, gather, join, announce});
      },
      nb::arg("folder"), nb::arg("torch_folder"), nb::arg("device_index"), nb::arg("most_threads"),
      nb::arg("place"), nb::arg("gather"), nb::arg("join"), nb::arg("announce"),
      "Computes a model for the ranks of this node, until the last one has left.");
  module.def(
      "dead_model_server",
      [](const std::string& place, bool remove) {
        return without_gil([&] { return dovetail::left_in_place(place, remove); });
      },
      nb::arg("place"), nb::arg("remove"),
      "The bytes that a server left which was killed, removed if so asked; or None.");
  module.def("device_of_rank", &dovetail::device_of_rank, nb::arg("devices"),
             "Which of so many devices this rank of the node uses.");
  module.def("devices_here", &dovetail::devices_here, nb::arg("kind"),
             "How many devices of a kind there are on this node.");
  module.def("threads_of_all_ranks", &dovetail::threads_of_all_ranks,
             "The shares of the processors that all ranks of this node have together.");
  nb::class_<SharedModel>(module, "SharedModel", "A model that a process next door computes.")
      .def(
          "__init__",
          [](SharedModel* self, const std::string& folder, const std::string& torch_folder,
             const std::string& python, int device_index, int threads, double gather, bool join,
             double timeout, bool compute_here) {
            SharedModelOptions options{folder, torch_folder, python,  device_index, threads,
                                       gather, join,         timeout, compute_here};
            options.interrupt = check_signals;
            without_gil([&] { new (self) SharedModel(options); });
          },
          nb::arg("folder"), nb::arg("torch_folder"), nb::arg("python"), nb::arg("device_index"),
          nb::arg("threads"), nb::arg("gather"), nb::arg("join"), nb::arg("timeout"),
          nb::arg("compute_here"))
      .def("another",
           [](const SharedModel& model) { return without_gil([&] { return model.copy(); }); })
      .def("take_notice", &SharedModel::take_notice)
      .def("close", [](SharedModel& model) { without_gil([&] { model.close(); }); })
      .def("run", &run)
      .def("run_into", &run_into)
      .def("replace_weights", &replace_weights)
      .def_prop_ro("calls", [](const SharedModel& model) { return model.counts().calls; })
      .def_prop_ro("counts",
                   [](const SharedModel& model) {
                     const auto counts = model.counts();
                     return nb::make_tuple(counts.calls, counts.joined, counts.ranks, counts.runs,
                                           counts.process);
                   })
      .def_prop_ro("device", [](const SharedModel& model) { return model.spec().device; })
      .def_prop_ro("inputs",
                   [](const SharedModel& m) { return specs_to_python(m.spec().inputs, m.spec()); })
      .def_prop_ro("outputs",
                   [](const SharedModel& m) { return specs_to_python(m.spec().outputs, m.spec()); })
      .def_prop_ro("weights", [](const SharedModel& m) {
        return specs_to_python(m.spec().weights, m.spec());
      });
}
