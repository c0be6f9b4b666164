// A model in a time loop: its weights follow what is published, and a guard says when it is not to
// be trusted. The counterpart, for other languages, of dovetail.model in Python.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "callable_model.hpp"
#include "store.hpp"

namespace dovetail {

// Where each channel of the first input may lie.
struct ModelBounds {
  std::vector<double> lower, upper;  // none: the inputs are not looked at
  int axis = -1;
};

struct ModelCounters {
  std::atomic<std::int64_t> calls{0}, out_of_range{0}, non_finite{0}, taken{0}, refused{0}, ns{0};
};

enum class Verdict { trusted, out_of_range, non_finite };

class FollowedModel {
 public:
  explicit FollowedModel(std::unique_ptr<CallableModel> model, std::string label);

  // What was loaded; its specifications are those of every version.
  const CallableModel& model() const { return *first_; }

  // Nothing is written unless the model is trusted.
  Verdict run(const ModelArray* inputs, std::size_t count, const ModelArray* outputs,
              std::size_t output_count);

  void guard(ModelBounds bounds);

  // The weights under this key from now on. The store stays open as long.
  void follow(std::shared_ptr<Store> store, const std::string& key, const std::string& name);
  // Whether a newer version is in force now. Throws Error, once for each value, if the newest one
  // is refused.
  bool refresh();

  std::int64_t version() const;
  const ModelCounters& counters() const { return counters_; }

 private:
  struct Version {
    std::shared_ptr<CallableModel> model;
    std::int64_t number = 0;
    double published = 0;
    std::optional<ModelBounds> bounds;
  };
  std::shared_ptr<const Version> in_force() const;
  std::shared_ptr<const Version> prepared(const Value& value);
  bool in_bounds(const ModelBounds& bounds, const ModelArray& input) const;

  const std::string label_;
  const std::shared_ptr<CallableModel> first_;
  mutable std::mutex mutex_;  // of what a call and a refresh share
  std::shared_ptr<const Version> in_force_;
  std::shared_ptr<const ModelBounds> own_bounds_;
  ModelCounters counters_;

  std::mutex refreshing_;
  std::shared_ptr<Store> store_;
  std::string key_, name_, seen_;
  std::shared_ptr<CallableModel> spare_;
};

}  // namespace dovetail
