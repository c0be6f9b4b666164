// A model that the process next door computes for the ranks of this node.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "callable_model.hpp"
#include "model.hpp"
#include "model_joining.hpp"

namespace dovetail {

struct SharedModelCounts {
  std::int64_t calls = 0;    // of this rank
  std::int64_t joined = 0;   // of these, that were one with calls of other ranks
  std::int64_t ranks = 0;    // that share the server now
  std::int64_t runs = 0;     // of the model, by the server
  std::int64_t process = 0;  // of the server; 0: computed in this process
};

struct OwnedArray {
  std::vector<std::uint8_t> bytes;
  std::int32_t dtype = 0;
  std::vector<std::int64_t> shape;
};

class ServerConnection;
class SentWeights;

class SharedModel final : public CallableModel {
 public:
  // Joins the server of this node, or starts it. Throws Error.
  explicit SharedModel(const SharedModelOptions& options);
  ~SharedModel() override;

  const ModelSpec& spec() const override;
  // Throws Error(Status::peer_lost) once the server is gone, unless it then computes here; and
  // Error(Status::timeout) if it does not answer, after which it may be called again.
  bool run_into(const ModelArray* inputs, std::size_t count, const ModelArray* outputs,
                std::size_t output_count, bool only_finite) override;
  std::vector<OwnedArray> run(const ModelArray* inputs, std::size_t count);
  void replace_weights(const NamedWeights& weights) override;
  std::unique_ptr<CallableModel> another() const override { return copy(); }
  std::unique_ptr<SharedModel> copy() const;

  SharedModelCounts counts() const;
  // That it computes here from now on: once, if `say` of the options is nothing.
  std::string take_notice() const;
  // Leaves the server, when a call under way has ended, unless other instances stay. Whatever else
  // is asked then throws Error(Status::closed).
  void close();

 private:
  explicit SharedModel(std::shared_ptr<ServerConnection> connection);
  std::shared_ptr<ServerConnection> connection() const;
  Model& here(ServerConnection& connection);

  std::shared_ptr<ServerConnection> connection_;  // none: closed
  const std::shared_ptr<const ModelSpec> spec_;
  std::shared_ptr<SentWeights> weights_;  // none: those exported
  std::unique_ptr<Model> here_;           // once the server is gone
};

}  // namespace dovetail
