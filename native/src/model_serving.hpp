// What the process of a model server does, from its start to its end.
#pragma once

#include <string>

#include "model_server.hpp"

namespace dovetail {

// Loads the model in `folder`, announces "process <number>" and then "ready", or "refused <status>
// <sentence>", and serves until the last rank has left.
void serve_model(const std::string& folder, const ModelOptions& model,
                 const ModelServerOptions& options);

}  // namespace dovetail
