// Models in the time loop.
#include <cstdio>
#include <cstdlib>

#include "calls.hpp"
#include "dovetail/model.h"
#include "handles.hpp"
#include "model.hpp"
#include "model_client.hpp"
#include "model_compiler.hpp"
#include "model_following.hpp"
#include "model_threads.hpp"
#include "stores.hpp"

using namespace dovetail;
using namespace dovetail::abi;

namespace {

struct LoadedModel {
  static constexpr Kind kind = Kind::model;
  using Handle = dvt_model;

  LoadedModel(std::unique_ptr<CallableModel> model, const std::string& path)
      : followed(std::move(model), path) {
    for (const auto* arrays : {&followed.model().spec().inputs, &followed.model().spec().outputs}) {
      for (const auto& array : *arrays) {
        auto& shape = shapes.emplace_back();
        for (const auto& extent : array.shape) shape.push_back(extent.number);
      }
    }
  }

  FollowedModel followed;
  std::vector<Extents> shapes;  // of the inputs, then of the outputs
};

constexpr int most_arrays = 32;

// What a caller described, as the model takes it, without a copy and without memory of its own.
class CallArrays {
 public:
  CallArrays(const dvt_array* arrays, int count, const std::vector<ModelArraySpec>& specs,
             const char* role) {
    if (count < 0 || count > most_arrays) {
      refuse(std::to_string(count) + " arrays were given: a call takes 0 to " +
             std::to_string(most_arrays));
    }
    if (count > 0 && arrays == nullptr) refuse(std::string("the ") + role + "s are NULL");
    for (int index = 0; index < count; ++index) {
      const auto place = static_cast<std::size_t>(index);
      const auto name = place < specs.size() ? specs[place].name : std::to_string(index);
      take(arrays[index], arrays_[index], shapes_[index], std::string("the ") + role + " " + name);
    }
  }

  const ModelArray* data() const { return arrays_; }

 private:
  static void take(const dvt_array& given, ModelArray& array, std::int64_t* shape,
                   const std::string& about) {
    const auto item = model_item_bytes(given.dtype);
    if (item == 0) {
      refuse(about + ": the dtype " + std::to_string(given.dtype) + " is none of dvt_dtype");
    }
    const int rank = given.rank;
    if (rank < 0 || rank > static_cast<int>(most_model_axes)) {
      refuse(about + ": the rank is " + std::to_string(rank) + "; it is 0 to " +
             std::to_string(most_model_axes));
    }
    if (rank > 0 && given.shape == nullptr) refuse(about + ": its shape is NULL");
    if (given.order != DVT_ROW_MAJOR && given.order != DVT_COLUMN_MAJOR) {
      refuse(about + ": the order " + std::to_string(given.order) + " is none of dvt_order");
    }
    const bool reversed = given.order == DVT_COLUMN_MAJOR;
    std::int64_t stride = item;
    for (int axis = rank; axis-- > 0;) {
      const int theirs = reversed ? rank - 1 - axis : axis;
      const auto extent = given.shape[theirs];
      if (extent < 0) refuse(about + ": an extent is " + std::to_string(extent));
      if (given.strides != nullptr && extent > 1 && given.strides[theirs] != stride) {
        refuse(about + " has gaps, or another order than it says: pass a dense copy of it");
      }
      shape[axis] = extent;
      stride *= extent > 0 ? extent : 1;
    }
    array.data = given.data;
    array.dtype = given.dtype;
    array.rank = rank;
    array.shape = shape;
  }

  ModelArray arrays_[most_arrays];
  std::int64_t shapes_[most_arrays][most_model_axes];
};

dvt_array described(const ModelArraySpec& spec, const Extents& shape) {
  dvt_array array{};
  array.name = spec.name.c_str();
  array.dtype = spec.dtype;
  array.rank = spec.told ? static_cast<std::int32_t>(shape.size()) : -1;
  array.shape = spec.told ? shape.data() : nullptr;
  return array;
}

void describe(const dvt_model* model, int index, dvt_array* array, bool output) {
  auto& place = result(array, "array");
  const auto loaded = object_of<LoadedModel>(model);
  const auto& spec = loaded->followed.model().spec();
  const auto& arrays = output ? spec.outputs : spec.inputs;
  if (index < 0 || static_cast<std::size_t>(index) >= arrays.size()) {
    refuse("there is no " + std::string(output ? "output " : "input ") + std::to_string(index) +
           " of " + std::to_string(arrays.size()));
  }
  const auto which = static_cast<std::size_t>(index);
  place = described(arrays[which], loaded->shapes[which + (output ? spec.inputs.size() : 0)]);
}

dvt_model_options told_in(const dvt_model_options* options) {
  dvt_model_options told{};
  if (options != nullptr) {
    told.device = options->device;
    told.threads = options->threads;
    told.shared = options->shared;
    told.timeout = options->timeout;
    // Programs that were built before models could be shared have no such field.
    if (told.shared != 0) told.gather = options->gather;
  }
  if (told.threads < 0 || !(told.timeout >= 0)) refuse("threads and timeout are 0 or more");
  if (told.shared < 0 || told.shared > DVT_MODEL_SHARED_ELSE_IN_PROCESS) {
    refuse("shared is " + std::to_string(told.shared) +
           ": it is 0, DVT_MODEL_SHARED or DVT_MODEL_SHARED_ELSE_IN_PROCESS");
  }
  if (!(told.gather <= 60)) refuse("gather is at most 60 seconds");
  if (told.timeout == 0) told.timeout = 600;
  if (told.gather == 0) told.gather = 2e-4;
  return told;
}

std::unique_ptr<CallableModel> in_this_process(const std::string& folder, int device_index,
                                               int threads) {
  ModelOptions options;
  options.device_index = device_index;
  options.most_threads = threads;
  return std::make_unique<Model>(ModelPackage::load(folder, ""), options);
}

std::unique_ptr<CallableModel> in_a_shared_one(const std::string& folder, int device_index,
                                               const dvt_model_options& told) {
  SharedModelOptions options;
  options.folder = folder;
  options.device_index = device_index;
  options.threads = told.threads;
  options.join = told.gather > 0;
  options.gather = options.join ? told.gather : 0;
  options.timeout = told.timeout;
  options.compute_here = told.shared == DVT_MODEL_SHARED_ELSE_IN_PROCESS;
  options.say = [](const std::string& text) {
    std::fprintf(stderr, "dovetail: %s\n", text.c_str());
  };
  return std::make_unique<SharedModel>(options);
}

}  // namespace

int dvt_model_load(const char* path, const dvt_model_options* options, dvt_model** model) {
  return guarded([&] {
    auto& handle = result(model, "model");
    const auto file = text_in(path, "the path");
    const auto told = told_in(options);
    const int most = told.threads > 0   ? told.threads
                     : told.shared == 0 ? available_threads()
                                        : threads_of_all_ranks();
    const std::string device = told.device == nullptr ? "auto" : told.device;
    const auto folder = compiled_folder(file, device, most == 1, told.timeout);
    const auto spec = read_model_spec(folder);
    const auto colon = device.find(':');
    if (device != "auto" && device.substr(0, colon) != spec.device) {
      throw Error(Status::unavailable, "the model in " + folder + " was compiled for " +
                                           spec.device + ", not for " + device +
                                           ": compile the exported model for it");
    }
    if (told.shared != 0 && spec.script) {
      throw Error(Status::capability,
                  file + " cannot be shared by the ranks of a node: only what " +
                      "dovetail.export_model wrote can; load it with shared = 0");
    }
    int index = 0;
    if (colon != std::string::npos) {
      index = std::atoi(device.c_str() + colon + 1);
    } else if (told.shared != 0 && spec.device != "cpu") {
      index = device_of_rank(devices_here(spec.device));
    }
    auto made = told.shared == 0 ? in_this_process(folder, index, most)
                                 : in_a_shared_one(folder, index, told);
    handle = handle_of(std::make_shared<LoadedModel>(std::move(made), file));
  });
}

int dvt_model_close(dvt_model* model) {
  return guarded([&] { take_object<LoadedModel>(model); });
}

int dvt_model_count(dvt_model* model, int* inputs, int* outputs) {
  return guarded([&] {
    auto& input_count = result(inputs, "inputs");
    auto& output_count = result(outputs, "outputs");
    const auto& spec = object_of<LoadedModel>(model)->followed.model().spec();
    input_count = static_cast<int>(spec.inputs.size());
    output_count = static_cast<int>(spec.outputs.size());
  });
}

int dvt_model_input(dvt_model* model, int index, dvt_array* array) {
  return guarded([&] { describe(model, index, array, false); });
}

int dvt_model_output(dvt_model* model, int index, dvt_array* array) {
  return guarded([&] { describe(model, index, array, true); });
}

int dvt_model_run(dvt_model* model, const dvt_array* inputs, int input_count,
                  const dvt_array* outputs, int output_count) {
  return guarded([&]() -> int {
    const auto loaded = object_of<LoadedModel>(model);
    const auto& spec = loaded->followed.model().spec();
    const CallArrays given(inputs, input_count, spec.inputs, "input");
    const CallArrays room(outputs, output_count, spec.outputs, "array for the output");
    const auto verdict = loaded->followed.run(given.data(), static_cast<std::size_t>(input_count),
                                              room.data(), static_cast<std::size_t>(output_count));
    return verdict == Verdict::trusted ? DVT_OK : DVT_FALL_BACK;
  });
}

int dvt_model_guard(dvt_model* model, const double* lower, const double* upper, int count,
                    int axis) {
  return guarded([&] {
    const auto loaded = object_of<LoadedModel>(model);
    if (count < 0 || (count > 0 && (lower == nullptr || upper == nullptr))) {
      refuse("a guard takes a lower and an upper bound for each of its channels, or count 0");
    }
    ModelBounds bounds;
    if (count > 0) {
      bounds.lower.assign(lower, lower + count);
      bounds.upper.assign(upper, upper + count);
    }
    bounds.axis = axis;
    loaded->followed.guard(std::move(bounds));
  });
}

int dvt_model_follow(dvt_model* model, dvt_store* store, const char* name) {
  return guarded([&] {
    const auto loaded = object_of<LoadedModel>(model);
    const auto view = object_of<StoreView>(store);
    const auto called = key_in(name);
    // The store lives as long as the pointer that shares it.
    loaded->followed.follow(std::shared_ptr<Store>(view->store, view->store->core.get()),
                            view->prefix + "models/" + called, called);
  });
}

int dvt_model_refresh(dvt_model* model, int* taken) {
  return guarded([&] {
    auto& place = result(taken, "taken");
    place = object_of<LoadedModel>(model)->followed.refresh() ? 1 : 0;
  });
}

int dvt_model_get_statistics(dvt_model* model, dvt_model_statistics* statistics) {
  return guarded([&] {
    auto& place = result(statistics, "statistics");
    const auto loaded = object_of<LoadedModel>(model);
    const auto& counters = loaded->followed.counters();
    place.calls = counters.calls;
    place.out_of_range = counters.out_of_range;
    place.non_finite = counters.non_finite;
    place.fallbacks = place.out_of_range + place.non_finite;
    place.version = loaded->followed.version();
    place.taken = counters.taken;
    place.refused = counters.refused;
    place.seconds = static_cast<double>(counters.ns) * 1e-9;
  });
}
