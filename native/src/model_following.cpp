#include "model_following.hpp"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "clock.hpp"
#include "error.hpp"
#include "model_checks.hpp"
#include "trace.hpp"
#include "variables.hpp"

namespace dovetail {

namespace {

// As dovetail.observe numbers them.
enum Event : std::uint8_t { take_model = 7, refuse_model = 8, call_model = 9, fall_back = 10 };

void record(Event event, const std::string& name, std::int64_t started, std::uint64_t nbytes = 0) {
  if (trace::recording()) trace::record({event, name, started, wall_clock_ns(), nbytes, 0});
}

std::optional<ModelBounds> bounds_in(const nlohmann::json& attributes) {
  const auto found = attributes.find("dovetail.input_range");
  if (found == attributes.end() || found->is_null()) return std::nullopt;
  ModelBounds bounds;
  bounds.lower = found->at("lower").get<std::vector<double>>();
  bounds.upper = found->at("upper").get<std::vector<double>>();
  bounds.axis = found->at("axis").get<int>();
  return bounds;
}

template <class Number>
bool within(const ModelBounds& bounds, const Number* data, std::uint64_t outer,
            std::uint64_t channels, std::uint64_t inner) {
  for (std::uint64_t block = 0; block < outer; ++block) {
    for (std::uint64_t channel = 0; channel < channels; ++channel) {
      const auto lower = bounds.lower[channel], upper = bounds.upper[channel];
      bool all = true;
      // Written so that NaN is outside.
      for (std::uint64_t place = 0; place < inner; ++place) {
        const auto number = static_cast<double>(*data++);
        all = all && number >= lower && number <= upper;
      }
      if (!all) return false;
    }
  }
  return true;
}

// Weights that are dense and row-major, as the model takes them.
NamedWeights weights_in(const Value& value, const std::vector<Variable>& variables,
                        std::vector<std::vector<std::uint8_t>>& copies) {
  NamedWeights weights;
  for (const auto& variable : variables) {
    const auto item = item_bytes(variable.dtype);
    auto* data = const_cast<std::uint8_t*>(value.memory->data()) + variable.offset;
    if (!is_dense(variable.shape, variable.strides, item, Order::row_major)) {
      auto& copy = copies.emplace_back(variable.nbytes);
      copy_elements(copy.data(), dense_strides(variable.shape, item, Order::row_major), data,
                    variable.strides, variable.shape, item);
      data = copy.data();
    }
    ModelArray array;
    array.data = data;
    array.dtype = static_cast<std::int32_t>(variable.dtype);
    array.rank = static_cast<std::int32_t>(variable.shape.size());
    array.shape = variable.shape.data();
    weights.emplace_back(variable.name, array);
  }
  return weights;
}

}  // namespace

FollowedModel::FollowedModel(std::unique_ptr<CallableModel> model, std::string label)
    : label_(std::move(label)), first_(std::move(model)), name_(label_) {
  auto version = std::make_shared<Version>();
  version->model = first_;
  in_force_ = std::move(version);
}

std::shared_ptr<const FollowedModel::Version> FollowedModel::in_force() const {
  const std::lock_guard lock(mutex_);
  return in_force_;
}

std::int64_t FollowedModel::version() const { return in_force()->number; }

void FollowedModel::guard(ModelBounds bounds) {
  for (std::size_t channel = 0; channel < bounds.lower.size(); ++channel) {
    if (!(bounds.lower[channel] <= bounds.upper[channel])) {
      throw Error(Status::argument, "the bounds of channel " + std::to_string(channel) + " are " +
                                        std::to_string(bounds.lower[channel]) + " and " +
                                        std::to_string(bounds.upper[channel]) +
                                        ": the lower comes first");
    }
  }
  const std::lock_guard lock(mutex_);
  own_bounds_ = std::make_shared<const ModelBounds>(std::move(bounds));
}

Verdict FollowedModel::run(const ModelArray* inputs, std::size_t count, const ModelArray* outputs,
                           std::size_t output_count) {
  const auto started = wall_clock_ns();
  std::shared_ptr<const Version> version;
  std::shared_ptr<const ModelBounds> own;
  {
    const std::lock_guard lock(mutex_);
    version = in_force_;
    own = own_bounds_;
  }
  auto verdict = Verdict::trusted;
  const auto* bounds = version->bounds ? &*version->bounds : own.get();
  if (bounds != nullptr && count > 0 && !bounds->lower.empty() && !in_bounds(*bounds, inputs[0])) {
    verdict = Verdict::out_of_range;
  } else if (!version->model->run_into(inputs, count, outputs, output_count, own != nullptr)) {
    verdict = Verdict::non_finite;
  }
  counters_.ns += wall_clock_ns() - started;
  ++counters_.calls;
  if (verdict == Verdict::out_of_range) ++counters_.out_of_range;
  if (verdict == Verdict::non_finite) ++counters_.non_finite;
  if (own != nullptr && trace::recording()) {
    record(call_model, name_, started);
    if (verdict == Verdict::out_of_range) record(fall_back, name_ + ": input range", started);
    if (verdict == Verdict::non_finite) record(fall_back, name_ + ": non-finite output", started);
  }
  return verdict;
}

bool FollowedModel::in_bounds(const ModelBounds& bounds, const ModelArray& input) const {
  const int axis = bounds.axis < 0 ? bounds.axis + input.rank : bounds.axis;
  const auto channels = bounds.lower.size();
  if (axis < 0 || axis >= input.rank || static_cast<std::uint64_t>(input.shape[axis]) != channels) {
    throw Error(Status::argument, "the guard bounds " + std::to_string(channels) +
                                      " channels along axis " + std::to_string(bounds.axis) +
                                      ", and the first input has the shape " +
                                      text_of(input.shape, static_cast<std::size_t>(input.rank)));
  }
  std::uint64_t outer = 1, inner = 1;
  for (int place = 0; place < input.rank; ++place) {
    if (place < axis) outer *= static_cast<std::uint64_t>(input.shape[place]);
    if (place > axis) inner *= static_cast<std::uint64_t>(input.shape[place]);
  }
  if (input.on_device || input.data == nullptr) return true;
  switch (static_cast<Dtype>(input.dtype)) {
    case Dtype::float32:
      return within(bounds, static_cast<const float*>(input.data), outer, channels, inner);
    case Dtype::float64:
      return within(bounds, static_cast<const double*>(input.data), outer, channels, inner);
    default:
      throw Error(Status::unsupported,
                  std::string("a guard bounds float32 and float64 inputs, not ") +
                      model_dtype_name(input.dtype));
  }
}

void FollowedModel::follow(std::shared_ptr<Store> store, const std::string& key,
                           const std::string& name) {
  const std::lock_guard lock(refreshing_);
  store_ = std::move(store);
  key_ = key;
  name_ = name;
  seen_.clear();
}

bool FollowedModel::refresh() {
  const std::lock_guard lock(refreshing_);
  if (!store_) {
    throw Error(Status::argument, "the model " + label_ + " follows nothing: say which first");
  }
  const auto started = wall_clock_ns();
  Value value;
  try {
    if (store_->stat(key_).version == seen_) return false;
    value = store_->get(key_);
  } catch (const Error& error) {
    if (error.status == Status::key_not_found) return false;
    throw;
  }
  seen_ = value.version;
  try {
    auto next = prepared(value);
    if (!next) return false;
    const auto number = std::to_string(next->number);
    {
      const std::lock_guard held(mutex_);
      if (in_force_->model != first_) spare_ = in_force_->model;
      in_force_ = std::move(next);
    }
    ++counters_.taken;
    record(take_model, name_ + "@" + number, started, value.nbytes);
    return true;
  } catch (const Error& error) {
    ++counters_.refused;
    record(refuse_model, name_ + "@?: " + (error.status == Status::corrupt ? "corrupt" : "layout"),
           started);
    throw Error(error.status, "a version of the model '" + name_ +
                                  "' is not taken: " + error.what() + "; version " +
                                  std::to_string(version()) + " stays in force");
  }
}

std::shared_ptr<const FollowedModel::Version> FollowedModel::prepared(const Value& value) {
  auto next = std::make_shared<Version>();
  try {
    const auto attributes = nlohmann::json::parse(attributes_in(value.header->metadata));
    next->number = attributes.at("dovetail.version").get<std::int64_t>();
    next->published = attributes.at("dovetail.published").get<double>();
    next->bounds = bounds_in(attributes);
  } catch (const nlohmann::json::exception& error) {
    throw Error(Status::corrupt, std::string("the value is no published model: ") + error.what());
  }
  const auto now = in_force();
  if (next->number < now->number && next->published < now->published) return nullptr;  // overtaken
  const auto variables = variables_of(*value.header);
  std::vector<std::vector<std::uint8_t>> copies;
  const auto weights = weights_in(value, variables, copies);
  for (const auto& [name, array] : weights) {
    const auto bounded =
        std::find_if(first_->spec().weights.begin(), first_->spec().weights.end(),
                     [&, &name = name](const auto& one) { return one.name == name; });
    if (bounded != first_->spec().weights.end() && bounded->finite && !is_finite(array)) {
      throw Error(Status::argument, name + " holds values that are not finite");
    }
  }
  // A call may still hold what was in force before: then it stays as it is.
  next->model = spare_ && spare_.use_count() == 1
                    ? std::move(spare_)
                    : std::shared_ptr<CallableModel>(first_->another());
  spare_ = nullptr;
  next->model->replace_weights(weights);
  return next;
}

}  // namespace dovetail
