// Calls of several ranks as one call of the model, where its samples do not depend on each other.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "model.hpp"
#include "model_region.hpp"

namespace dovetail {

// What a rank asked for, as the server has read it once.
struct AskedCall {
  std::shared_ptr<CallRegion> region;
  std::shared_ptr<Model> model;
  std::vector<ModelArray> inputs;
  std::vector<std::vector<std::int64_t>> shapes;  // of the inputs

  std::int64_t rows() const { return shapes.empty() || shapes[0].empty() ? 0 : shapes[0][0]; }
};

// Whether axis 0 of all inputs and outputs is the same free extent; and whether some samples of
// random numbers, called together and apart, give the same. What is not so is called apart.
bool joins_samples(Model& model);

// The place of the first call that cannot be one with those before it; at least 1.
std::size_t that_go_together(const std::vector<AskedCall>& calls, std::size_t begin,
                             std::int64_t most_rows);
std::int64_t most_rows_of(const ModelSpec& spec);

// Runs the model of these calls once, and answers each in its region.
void answer_together(const AskedCall* calls, std::size_t count);
void answer_failed(CallRegion& region, const std::exception& error);

}  // namespace dovetail
