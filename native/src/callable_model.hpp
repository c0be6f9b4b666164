// What a time loop calls, wherever it is computed: in this process, or in one that the ranks of a
// node share.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model_package.hpp"

namespace dovetail {

// An array of the caller, or of a result. Row-major and dense.
struct ModelArray {
  void* data = nullptr;
  std::int32_t dtype = 0;  // as the C interface numbers it
  std::int32_t rank = 0;
  const std::int64_t* shape = nullptr;
  bool on_device = false;  // the pointer is of the model's device, and not of the host
};

using NamedWeights = std::vector<std::pair<std::string, ModelArray>>;

class CallableModel {
 public:
  virtual ~CallableModel() = default;

  virtual const ModelSpec& spec() const = 0;
  // Calls it, and answers into memory of the caller. Outputs are checked before the run as far as
  // they can be, and untouched if it fails; or if they must be finite and are not: that is false.
  // Calls from several threads take turns. Throws Error(Status::argument), naming the array, if
  // inputs or outputs are not what spec() says, and Error(Status::model_failed).
  virtual bool run_into(const ModelArray* inputs, std::size_t count, const ModelArray* outputs,
                        std::size_t output_count, bool only_finite) = 0;
  // Replaces all weights, by name; each is copied. Not while the model is called. Throws
  // Error(Status::argument) if one is missing, unknown, or of another shape or dtype, and
  // Error(Status::capability) if the compiled code holds weights that cannot be replaced.
  virtual void replace_weights(const NamedWeights& weights) = 0;
  // Another instance, with weights of its own: those exported.
  virtual std::unique_ptr<CallableModel> another() const = 0;
};

}  // namespace dovetail
