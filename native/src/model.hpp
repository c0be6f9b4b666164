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

#include "callable_model.hpp"
#include "model_checks.hpp"
#include "model_threads.hpp"

namespace dovetail {

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

class Model final : public CallableModel {
 public:
  Model(std::shared_ptr<const ModelPackage> package, const ModelOptions& options);
  ~Model() override;
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  const ModelPackage& package() const { return *package_; }
  const ModelSpec& spec() const override { return package_->spec; }
  const ModelOptions& options() const { return options_; }

  // The same as run_into(), into memory of libtorch. Results lie on the host unless
  // `leave_on_device`.
  std::vector<ModelResult> run(const ModelArray* inputs, std::size_t count,
                               bool leave_on_device = false);
  bool run_into(const ModelArray* inputs, std::size_t count, const ModelArray* outputs,
                std::size_t output_count, bool only_finite = false) override;
  void replace_weights(const NamedWeights& weights) override;
  // Shares the code.
  std::unique_ptr<CallableModel> another() const override { return copy(); }
  std::unique_ptr<Model> copy() const;

  // Some entries along axis 0 of a result on the host, to dense memory.
  void copy_rows(const ModelResult& result, std::int64_t first, std::int64_t count, void* to) const;

  std::uint64_t calls() const { return calls_; }

 private:
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
  CallChecks checks_;
  ThreadChoice choice_;
  std::vector<AtenTensor*> inputs_, outputs_;
  std::uint64_t calls_ = 0;
};

}  // namespace dovetail
