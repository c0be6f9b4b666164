// A network in the time loop, in C++: see model.h for what each call promises.
//
//   dovetail::Model closure("closure.pt2");
//   for (...) {
//     closure.refresh();  // after closure.follow(store, "closure")
//     if (!closure.run({gradients}, {forcing})) smagorinsky(gradients, forcing);
//   }
#pragma once

#include <initializer_list>
#include <string>
#include <vector>

#include "model.h"
#include "store.hpp"
#include "view.hpp"

namespace dovetail {

struct ModelOptions {
  std::string device;  // "cpu", "cuda", "cuda:1", "xpu"; empty: a GPU where torch can use one
  int threads = 0;     // the most that a call may use; 0: this process's share of the processors
  double timeout = 0;  // seconds that compiling may take; 0: 600
  int shared = 0;      // DVT_MODEL_SHARED: one process of this node computes for all its ranks
  double gather = 0;  // seconds that a shared call may wait for other ranks; 0: 0.0002; below: none
};

// What a model takes or gives: an extent that varies is -1.
struct Signature {
  std::string name;
  int dtype;  // a dvt_dtype
  Extents shape;
};

// An array for one call of a model: any view without gaps, which outlives the call.
class Argument {
 public:
  template <class T>
  Argument(const View<T>& view) {  // NOLINT: as a view becomes an argument
    array_.data = const_cast<std::remove_const_t<T>*>(view.data());
    array_.dtype = View<T>::dtype;
    array_.rank = static_cast<std::int32_t>(view.rank());
    array_.shape = view.shape().data();
    if (view.is_dense()) return;
    if (!view.is_dense(Order::column_major)) {
      throw ArgumentError(DVT_ARGUMENT, "an array for a model has no gaps: copy it");
    }
    array_.order = DVT_COLUMN_MAJOR;
  }
  const dvt_array& described() const { return array_; }

 private:
  dvt_array array_{};
};

// A model. Calls take turns, and may come from any thread.
class Model {
 public:
  explicit Model(const std::string& path, const ModelOptions& options = {}) {
    dvt_model_options chosen{};
    chosen.device = detail::text_or_null(options.device);
    chosen.threads = options.threads;
    chosen.timeout = options.timeout;
    chosen.shared = options.shared;
    chosen.gather = options.gather;
    dvt_model* handle = nullptr;
    detail::check(dvt_model_load(path.c_str(), &chosen, &handle));
    handle_.reset(handle);
  }

  std::vector<Signature> inputs() const { return signatures(dvt_model_input, counts().inputs); }
  std::vector<Signature> outputs() const { return signatures(dvt_model_output, counts().outputs); }

  // False: the guard leaves this call to the physics, and nothing was written.
  [[nodiscard]] bool run(std::initializer_list<Argument> inputs,
                         std::initializer_list<Argument> outputs) {
    static_assert(sizeof(Argument) == sizeof(dvt_array), "arguments lie as C takes them");
    const auto as_c = [](const Argument* first) {
      return reinterpret_cast<const dvt_array*>(first);
    };
    const int status =
        dvt_model_run(handle_.get(), as_c(inputs.begin()), static_cast<int>(inputs.size()),
                      as_c(outputs.begin()), static_cast<int>(outputs.size()));
    return detail::check(status) != DVT_FALL_BACK;
  }

  // From now on, trust it only where its outputs are finite, and each channel of the first input
  // lies within its bounds, if there are any. Channels are counted along `axis` (-1: the last).
  void guard(const std::vector<double>& lower = {}, const std::vector<double>& upper = {},
             int axis = -1) {
    if (lower.size() != upper.size()) {
      throw ArgumentError(DVT_ARGUMENT, "a guard needs as many upper bounds as lower ones");
    }
    detail::check(dvt_model_guard(handle_.get(), lower.data(), upper.data(),
                                  static_cast<int>(lower.size()), axis));
  }
  // Follow the weights that are published in a store under a name. The store may be closed then.
  void follow(const Store& store, const std::string& name) {
    detail::check(dvt_model_follow(handle_.get(), store.handle(), name.c_str()));
  }
  // Between steps: takes a newer version, whole or not at all; whether there was one.
  bool refresh() {
    int taken = 0;
    detail::check(dvt_model_refresh(handle_.get(), &taken));
    return taken != 0;
  }
  dvt_model_statistics statistics() const {
    dvt_model_statistics numbers;
    detail::check(dvt_model_get_statistics(handle_.get(), &numbers));
    return numbers;
  }

 private:
  struct Counts {
    int inputs = 0, outputs = 0;
  };
  Counts counts() const {
    Counts counts;
    detail::check(dvt_model_count(handle_.get(), &counts.inputs, &counts.outputs));
    return counts;
  }
  std::vector<Signature> signatures(int (*of)(dvt_model*, int, dvt_array*), int count) const {
    std::vector<Signature> all;
    for (int i = 0; i < count; ++i) {
      dvt_array array;
      detail::check(of(handle_.get(), i, &array));
      all.push_back({array.name, array.dtype, Extents(array.shape, array.shape + array.rank)});
    }
    return all;
  }

  detail::Owned<dvt_model, dvt_model_close> handle_;
};

}  // namespace dovetail
