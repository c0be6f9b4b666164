#include "model.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "error.hpp"

namespace dovetail {

namespace {

void dense_strides(const std::int64_t* shape, std::int32_t rank, std::int64_t* strides) {
  std::int64_t stride = 1;
  for (std::int32_t axis = rank; axis-- > 0;) {
    strides[axis] = stride;
    stride *= std::max<std::int64_t>(shape[axis], 1);
  }
}

// Copies a result, however it lies, to dense memory.
void copy_dense(std::uint8_t* to, const std::uint8_t* from, const std::int64_t* shape,
                const std::int64_t* strides, std::int32_t rank, std::int64_t item) {
  std::int64_t dense = 1;
  bool is_dense = true;
  std::uint64_t count = 1;
  for (std::int32_t axis = rank; axis-- > 0;) {
    is_dense = is_dense && (shape[axis] == 1 || strides[axis] == dense);
    dense *= shape[axis];
    count *= static_cast<std::uint64_t>(shape[axis]);
  }
  if (count == 0) return;
  if (is_dense) {
    std::memcpy(to, from, count * static_cast<std::uint64_t>(item));
    return;
  }
  const std::int64_t extent = shape[0], step = strides[0] * item;
  const auto part = static_cast<std::int64_t>(count) / extent * item;
  for (std::int64_t index = 0; index < extent; ++index) {
    copy_dense(to + index * part, from + index * step, shape + 1, strides + 1, rank - 1, item);
  }
}

}  // namespace

ModelResult& ModelResult::operator=(ModelResult&& other) noexcept {
  if (this != &other) {
    if (tensor_ != nullptr) torch_->forget(tensor_);
    array = other.array;
    torch_ = other.torch_;
    tensor_ = std::exchange(other.tensor_, nullptr);
  }
  return *this;
}

ModelResult::~ModelResult() {
  if (tensor_ != nullptr) torch_->forget(tensor_);
}

Model::Model(std::shared_ptr<const ModelPackage> package, const ModelOptions& options)
    : package_(std::move(package)),
      options_(options),
      checks_(package_->spec),
      choice_(package_->folder, package_->spec.one_thread ? 1 : options.most_threads) {
  const auto& spec = package_->spec;
  const auto& torch = *package_->torch;
  cpu_kind_ = torch.device_code("cpu");
  device_kind_ = torch.device_code(spec.device);
  for (const auto& input : spec.inputs) input_codes_.push_back(torch.dtype_code(input.code));
  for (const char* code : {"BOOL", "I8", "I16", "I32", "I64", "U8", "U16", "U32", "U64", "F16",
                           "BF16", "F32", "F64", "C64", "C128"}) {
    dtypes_.emplace_back(torch.dtype_code(code), model_dtype_of(code));
  }
  const auto device =
      spec.device == "cpu" ? spec.device : spec.device + ":" + std::to_string(options.device_index);
  if (package_->create(&container_, 1, device.c_str(), package_->folder.c_str()) != 0) {
    fail("cannot be set up on " + device);
  }
  std::size_t inputs = 0, outputs = 0;
  package_->count_inputs(container_, &inputs);
  package_->count_outputs(container_, &outputs);
  if (inputs != spec.inputs.size() || outputs != spec.outputs.size()) {
    package_->destroy(container_);
    throw Error(Status::corrupt, "the compiled model in " + package_->folder +
                                     " is damaged: its code and its dovetail.json differ. "
                                     "Compile it again");
  }
  inputs_.resize(inputs);
  outputs_.resize(outputs);
  find_weights();
}

Model::~Model() { package_->destroy(container_); }

std::unique_ptr<Model> Model::copy() const { return std::make_unique<Model>(package_, options_); }

std::vector<ModelResult> Model::run(const ModelArray* inputs, std::size_t count,
                                    bool leave_on_device) {
  const std::lock_guard lock(running_);
  checks_.take_inputs(inputs, count);
  auto results = call(inputs, count);
  if (device_kind_ != cpu_kind_ && !leave_on_device) {
    for (auto& result : results) result = on_host(result);
  }
  return results;
}

bool Model::run_into(const ModelArray* inputs, std::size_t count, const ModelArray* outputs,
                     std::size_t output_count, bool only_finite) {
  const std::lock_guard lock(running_);
  checks_.take_inputs(inputs, count);
  checks_.check_outputs(outputs, output_count);
  auto results = call(inputs, count);
  const auto& torch = *package_->torch;
  for (std::size_t index = 0; index < output_count; ++index) {
    const auto& wanted = outputs[index];
    auto& result = results[index];
    check_room(wanted, result.array, spec().outputs[index].name);
  }
  if (only_finite) {
    for (const auto& result : results) {
      // A transposed result fills the same memory in another order.
      const bool finite =
          device_kind_ == cpu_kind_ ? is_finite(result.array) : is_finite(on_host(result).array);
      if (!finite) return false;
    }
  }
  for (std::size_t index = 0; index < output_count; ++index) {
    const auto& wanted = outputs[index];
    auto& result = results[index];
    if (device_kind_ != cpu_kind_ && wanted.on_device) {
      std::int64_t strides[most_model_axes];
      dense_strides(wanted.shape, wanted.rank, strides);
      AtenTensor* into = nullptr;
      std::int32_t code = -1;
      if (torch.dtype_of(result.tensor(), &code) != 0 ||
          torch.from_blob(wanted.data, wanted.rank, wanted.shape, strides, 0, code, device_kind_,
                          options_.device_index, &into) != 0) {
        fail("cannot write into the caller's memory");
      }
      const ModelResult owned(torch, into);
      if (torch.copy(into, result.tensor(), 0) != 0) fail("cannot write into the caller's memory");
      continue;
    }
    if (device_kind_ != cpu_kind_) result = on_host(result);
    copy_rows(result, 0, wanted.rank > 0 ? wanted.shape[0] : 1, wanted.data);
  }
  return true;
}

void Model::copy_rows(const ModelResult& result, std::int64_t first, std::int64_t count,
                      void* to) const {
  const auto& array = result.array;
  const auto item = model_item_bytes(array.dtype);
  std::int64_t* strides = nullptr;
  package_->torch->strides_of(result.tensor(), &strides);
  std::int64_t shape[most_model_axes];
  std::copy(array.shape, array.shape + array.rank, shape);
  const auto* from = static_cast<const std::uint8_t*>(array.data);
  if (array.rank > 0) {
    shape[0] = count;
    from += first * strides[0] * item;
  }
  copy_dense(static_cast<std::uint8_t*>(to), from, shape, strides, array.rank, item);
}

std::vector<ModelResult> Model::call(const ModelArray* inputs, std::size_t count) {
  int threads = options_.most_threads;
  if (device_kind_ == cpu_kind_) {
    std::uint64_t elements = 0;
    for (std::size_t index = 0; index < count; ++index) elements += elements_of(inputs[index]);
    threads = choice_.of(elements, [&](int trial) {
      run_once(inputs, trial);
      for (auto* output : outputs_) package_->torch->forget(output);
    });
  }
  run_once(inputs, threads);
  ++calls_;
  std::vector<ModelResult> results;
  results.reserve(outputs_.size());
  for (auto* output : outputs_) results.emplace_back(*package_->torch, output);
  for (auto& result : results) {
    auto& array = result.array;
    std::int64_t rank = 0;
    std::int32_t code = -1;
    const auto& torch = *package_->torch;
    if (torch.rank_of(result.tensor(), &rank) != 0 || rank > static_cast<int>(most_model_axes) ||
        torch.sizes_of(result.tensor(), const_cast<std::int64_t**>(&array.shape)) != 0 ||
        torch.dtype_of(result.tensor(), &code) != 0 ||
        torch.data_of(result.tensor(), &array.data) != 0) {
      fail("gave an output that cannot be read");
    }
    array.rank = static_cast<std::int32_t>(rank);
    array.on_device = device_kind_ != cpu_kind_;
    for (const auto& [theirs, ours] : dtypes_) {
      if (theirs == code) array.dtype = ours;
    }
  }
  return results;
}

void Model::run_once(const ModelArray* inputs, int threads) {
  wrap_inputs(inputs);
  const TorchThreads set(*package_->torch, threads);
  // The handles of the inputs are taken over, whatever comes of the call.
  if (package_->run(container_, inputs_.data(), inputs_.size(), outputs_.data(), outputs_.size(),
                    nullptr, nullptr) != 0) {
    fail("failed");
  }
}

void Model::wrap_inputs(const ModelArray* inputs) {
  const auto& torch = *package_->torch;
  for (std::size_t index = 0; index < inputs_.size(); ++index) {
    const auto& input = inputs[index];
    std::int64_t strides[most_model_axes];
    dense_strides(input.shape, input.rank, strides);
    auto code = input_codes_[index];
    if (!spec().inputs[index].told) {
      for (const auto& [theirs, ours] : dtypes_) {
        if (ours == input.dtype) code = theirs;
      }
    }
    const bool is_there = device_kind_ == cpu_kind_ || input.on_device;
    AtenTensor* given = nullptr;
    bool made = torch.from_blob(input.data, input.rank, input.shape, strides, 0, code,
                                is_there ? device_kind_ : cpu_kind_,
                                is_there ? options_.device_index : 0, &given) == 0;
    if (made && !is_there) {
      const ModelResult host(torch, given);
      made = torch.empty(input.rank, input.shape, strides, code, device_kind_,
                         options_.device_index, &given) == 0;
      if (made && torch.copy(given, host.tensor(), 0) != 0) {
        torch.forget(given);
        made = false;
      }
    }
    if (!made) {
      for (std::size_t before = 0; before < index; ++before) torch.forget(inputs_[before]);
      fail("could not take its input " + spec().inputs[index].name);
    }
    inputs_[index] = given;
  }
}

ModelResult Model::on_host(const ModelResult& result) const {
  const auto& torch = *package_->torch;
  std::int64_t strides[most_model_axes];
  dense_strides(result.array.shape, result.array.rank, strides);
  std::int32_t code = -1;
  AtenTensor* copied = nullptr;
  if (torch.dtype_of(result.tensor(), &code) != 0 ||
      torch.empty(result.array.rank, result.array.shape, strides, code, cpu_kind_, 0, &copied) !=
          0) {
    fail("could not bring an output to the host");
  }
  ModelResult made(torch, copied);
  made.array = result.array;
  if (torch.copy(copied, result.tensor(), 0) != 0 ||
      torch.sizes_of(copied, const_cast<std::int64_t**>(&made.array.shape)) != 0 ||
      torch.data_of(copied, &made.array.data) != 0) {
    fail("could not bring an output to the host");
  }
  made.array.on_device = false;
  return made;
}

void Model::find_weights() {
  std::size_t count = 0;
  package_->count_weights(container_, &count);
  for (std::size_t index = 0; index < count; ++index) {
    const char *name = nullptr, *origin = nullptr;
    if (package_->weight_name(container_, index, &name) == 0 &&
        package_->weight_origin(container_, index, &origin) == 0 && name != nullptr &&
        origin != nullptr) {
      own_names_.emplace_back(origin, name);
    }
  }
}

void Model::replace_weights(const NamedWeights& weights) {
  const std::lock_guard lock(running_);
  if (spec().script) {
    throw Error(Status::capability, "the model in " + package_->folder +
                                        " is TorchScript, whose weights cannot be replaced: write "
                                        "the module with dovetail.export_model");
  }
  if (package_->update == nullptr) {
    throw Error(Status::capability, "the model in " + package_->folder +
                                        " was compiled with torch " + spec().torch +
                                        ", too old to replace weights: compile it again with "
                                        "torch 2.13 or newer");
  }
  const auto& torch = *package_->torch;
  std::vector<ModelResult> owned;
  std::vector<AotWeight> updates;
  const auto in_order = checked_weights(weights, spec());
  for (std::size_t place = 0; place < in_order.size(); ++place) {
    const auto& known = spec().weights[place];
    const auto& array = *in_order[place];
    if (!known.used) continue;
    const auto own = std::find_if(own_names_.begin(), own_names_.end(),
                                  [&](const auto& entry) { return entry.first == known.name; });
    if (own == own_names_.end()) {
      throw Error(Status::capability, "the weight " + known.name +
                                          " is part of the compiled code in " + package_->folder +
                                          " and cannot be replaced: compile the model again");
    }
    std::int64_t strides[most_model_axes];
    dense_strides(array.shape, array.rank, strides);
    AtenTensor* tensor = nullptr;
    if (torch.from_blob(array.data, array.rank, array.shape, strides, 0,
                        torch.dtype_code(known.code), cpu_kind_, 0, &tensor) != 0) {
      fail("could not take the weight " + known.name);
    }
    owned.emplace_back(torch, tensor);
    updates.push_back({own->second.c_str(), tensor});
  }
  if (package_->update(container_, updates.data(), updates.size(), false, false) != 0) {
    fail("could not take other weights");
  }
}

void Model::fail(const std::string& doing) const {
  throw Error(Status::model_failed,
              "the model in " + package_->folder + " " + doing + ": " + package_->reason());
}

}  // namespace dovetail
