#include "model_serving.hpp"

#include <unistd.h>

#include <algorithm>
#include <memory>

#include "error.hpp"

namespace dovetail {

namespace {

// False if nobody waits for it any more.
bool announce(int to, std::string line) {
  std::replace(line.begin(), line.end(), '\n', ' ');
  line = line.substr(0, 2000) + '\n';
  return ::write(to, line.data(), line.size()) == static_cast<ssize_t>(line.size());
}

}  // namespace

void serve_model(const std::string& folder, const ModelOptions& model,
                 const ModelServerOptions& options) {
  if (!announce(options.announce, "process " + std::to_string(::getpid()))) return;
  std::unique_ptr<ModelServer> server;
  try {
    server = std::make_unique<ModelServer>(
        std::make_unique<Model>(ModelPackage::load(folder, model.torch_hint), model), options);
  } catch (const Error& error) {
    announce(options.announce,
             "refused " + std::to_string(static_cast<int>(error.status)) + " " + error.what());
    throw;
  }
  announce(options.announce, "ready");
  ::close(options.announce);
  server->serve();
}

}  // namespace dovetail
