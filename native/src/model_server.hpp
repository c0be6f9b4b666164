// The process that computes a model for the ranks of its node: one thread takes their calls and
// answers them, together where it can; another lets ranks in and sees them leave. It ends with its
// last rank.
#pragma once

#include <sched.h>

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "model.hpp"
#include "model_batch.hpp"
#include "model_messages.hpp"
#include "model_region.hpp"

namespace dovetail {

struct ModelServerOptions {
  std::string place;  // the folder with its socket, which is removed at the end
  double gather = 0;  // seconds that a call may wait for those of other ranks
  bool join = true;   // whether samples of several ranks may be one call
  int announce = -1;  // a descriptor to say there how the start goes
};

class ModelServer {
 public:
  ModelServer(std::unique_ptr<Model> model, const ModelServerOptions& options);
  // Returns when the last rank has left.
  void serve();

 private:
  struct Rank {
    Fd socket;
    std::shared_ptr<CallRegion> region;  // none before it has joined
    std::vector<std::uint64_t> weights;
    bool expected = false;  // it called when the others did, and is worth waiting for
  };
  struct Weights {
    std::shared_ptr<SharedBytes> bytes;
    std::shared_ptr<Model> model;
    int uses = 0;
  };

  void let_in_and_out();
  bool may_end() const;
  void accept_ranks();
  bool listen_to(const std::shared_ptr<Rank>& rank);
  void forget(const std::shared_ptr<Rank>& rank);
  ModelMessage answer(Rank& rank, const ModelMessage& asked, Fd file);
  std::uint64_t take_weights(Rank& rank, SharedBytes bytes);
  void drop_weights(Rank& rank, std::uint64_t number);
  void use_processors_of(const cpu_set_t& processors);

  bool has_asked(const Rank& rank) const;
  bool anyone_asked();
  bool everyone_asked();
  std::vector<AskedCall> take_calls();
  AskedCall read(const Rank& rank);

  const std::shared_ptr<Model> model_;
  const ModelServerOptions options_;
  Fd listening_;
  SharedBytes board_bytes_;
  ServerBoard& board_;
  bool joins_ = false;
  std::int64_t most_rows_ = 0;
  cpu_set_t processors_{};

  std::atomic<bool> ending_{false};
  std::mutex mutex_;  // of ranks and weights
  std::vector<std::shared_ptr<Rank>> ranks_;
  std::map<std::uint64_t, Weights> weights_;
  std::uint64_t last_weights_ = 0;
};

}  // namespace dovetail
