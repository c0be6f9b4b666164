// A compiled model in this process: called with arrays of the caller, which are not copied, and
// answers into arrays of the caller, which is one copy.
//
// Several instances of one package share its code, and each has weights of its own: so weights are
// swapped while running by filling an instance that nobody calls, and calling that from then on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "model_package.hpp"
#include "model_threads.hpp"

namespace dovetail {

// An array of the caller, or of a result. Row-major and dense.
struct ModelArray {
  void* data = nullptr;
  std::int32_t dtype = 0;  // as the C interface numbers it
  std::int32_t rank = 0;
  const std::int64_t* shape = nullptr;
  bool on_device = false;  // the pointer is of the model's device, and not of the host
};

// Whether all of a dense array on the host is; what is no floating-point number is.
bool is_finite(const ModelArray& array);

// What a call gave, in memory of libtorch, until this goes.
class ModelResult {
 public:
  ModelResult() = default;
  ModelResult(const TorchLibrary& torch, AtenTensor* tensor) : torch_(&torch), tensor_(tensor) {}
  ModelResult(ModelResult&& other) noexcept
      : array(other.array), torch_(other.torch_), tensor_(std::exchange(other.tensor_, nullptr)) {}
  ModelResult& operator=(ModelResult&& other) noexcept;
  ModelResult(const ModelResult&) = delete;
  ModelResult& operator=(const ModelResult&) = delete;
  ~ModelResult();

  AtenTensor* tensor() const { return tensor_; }
  ModelArray array;  // its shape lies in the tensor

 private:
  const TorchLibrary* torch_ = nullptr;
  AtenTensor* tensor_ = nullptr;
};

struct ModelOptions {
  std::string torch_hint;  // where to look for libtorch first
  int device_index = 0;
  int most_threads = 1;  // how many threads a call may use at most
};

class Model {
 public:
  Model(std::shared_ptr<const ModelPackage> package, const ModelOptions& options);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const ModelPackage& package() const { return *package_; }
  const ModelSpec& spec() const { return package_->spec; }
  const ModelOptions& options() const { return options_; }

  // Throws Error(Status::argument), naming the array, if inputs are not what spec() says, and
  // Error(Status::model_failed) with what libtorch says. Calls from several threads take turns.
  // Results lie on the host unless `leave_on_device`.
  std::vector<ModelResult> run(const ModelArray* inputs, std::size_t count,
                               bool leave_on_device = false);
  // The same into memory of the caller. Outputs are checked before the run as far as they can be,
  // and untouched if it fails; or if they must be finite and are not: that is false.
  bool run_into(const ModelArray* inputs, std::size_t count, const ModelArray* outputs,
                std::size_t output_count, bool only_finite = false);

  // Replaces all weights, by name; each is copied. Not while the model is called. Throws
  // Error(Status::argument) if one is missing, unknown, or of another shape or dtype, and
  // Error(Status::capability) if the compiled code holds weights that cannot be replaced.
  void replace_weights(const std::vector<std::pair<std::string, ModelArray>>& weights);

  // Another instance of the same package.
  std::unique_ptr<Model> another() const;

  std::uint64_t calls() const { return calls_; }

 private:
  void check_inputs(const ModelArray* inputs, std::size_t count);
  void check_outputs(const ModelArray* outputs, std::size_t count) const;
  void wrap_inputs(const ModelArray* inputs);
  std::vector<ModelResult> call(const ModelArray* inputs, std::size_t count);
  void run_once(const ModelArray* inputs, int threads);
  ModelResult on_host(const ModelResult& result) const;
  void find_weights();
  [[noreturn]] void fail(const std::string& doing) const;

  std::shared_ptr<const ModelPackage> package_;
  ModelOptions options_;
  AotContainer* container_ = nullptr;
  std::int32_t device_kind_ = 0, cpu_kind_ = 0;
  std::vector<std::int32_t> input_codes_;
  std::vector<std::pair<std::int32_t, std::int32_t>> dtypes_;  // of torch, of ours
  // Weights of the code by the name that they have in the model.
  std::vector<std::pair<std::string, std::string>> own_names_;

  std::mutex running_;
  ThreadChoice choice_;
  std::vector<std::int64_t> bound_;
  std::vector<AtenTensor*> inputs_, outputs_;
  std::uint64_t calls_ = 0;
};

}  // namespace dovetail
