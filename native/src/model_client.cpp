#include "model_client.hpp"

#include <algorithm>
#include <cstring>
#include <new>
#include <utility>

#include "error.hpp"
#include "fork.hpp"
#include "model_threads.hpp"

namespace dovetail {

namespace {

// A server that is killed rings nobody: its end is looked for so often.
constexpr std::int64_t longest_unawareness_ns = 20'000'000;
constexpr std::size_t first_region = 64 * 1024;

CallRegion new_region(std::uint64_t bytes) {
  CallRegion region{SharedBytes(static_cast<std::size_t>(bytes))};
  new (&region.header()) CallHeader{};
  return region;
}

void describe(RegionArray& described, const ModelArray& array, std::uint64_t offset) {
  described.dtype = array.dtype;
  described.rank = array.rank;
  described.offset = offset;
  std::copy(array.shape, array.shape + array.rank, described.shape);
}

}  // namespace

// What the instances of one model in this process share: calls take turns.
class ServerConnection {
 public:
  explicit ServerConnection(const SharedModelOptions& told)
      : options(told),
        shared_spec(std::make_shared<const ModelSpec>(read_model_spec(told.folder))),
        spec(*shared_spec),
        region_(new_region(first_region)),
        server_(join_server(options, region_)),
        generation_(fork_generation()) {}

  // The answer lies in the region until the next call. Hold `turn` as long.
  std::vector<ModelArray> call(std::uint64_t weights, const ModelArray* inputs, std::size_t count,
                               std::uint64_t room) {
    check_alive();
    finish();
    std::uint64_t end = CallRegion::first_byte();
    for (std::size_t index = 0; index < count; ++index) {
      end = aligned(end + bytes_of(inputs[index]));
    }
    for (;;) {
      ask(weights, inputs, count, end, room);
      if (const auto needed = region_.header().needed; needed != 0) {
        room = needed - end;
        continue;
      }
      return answer();
    }
  }

  // A number that the server gives to these weights.
  std::uint64_t send_weights(const SharedBytes& bytes) {
    ModelMessage message;
    message.kind = ModelMessage::weights;
    return exchange(message, bytes.file());
  }

  void drop_weights(std::uint64_t number) noexcept {
    if (lost_ || generation_ != fork_generation()) return;
    ModelMessage message;
    message.kind = ModelMessage::drop;
    message.number = number;
    send_message(server_.socket.get(), message);
  }

  SharedModelCounts counts() const {
    SharedModelCounts all;
    all.calls = calls_;
    all.joined = joined_;
    if (lost_) return all;
    const auto& board = *reinterpret_cast<const ServerBoard*>(server_.board.data());
    all.ranks = board.ranks;
    all.runs = static_cast<std::int64_t>(board.runs);
    all.process = static_cast<std::int64_t>(server_.process);
    return all;
  }

  void count_call() { ++calls_; }
  void say_once(const std::string& text) {
    if (said_.exchange(true)) return;
    if (options.say) return options.say(text);
    const std::lock_guard lock(notice_mutex_);
    notice_ = text;
  }
  std::string take_notice() {
    const std::lock_guard lock(notice_mutex_);
    return std::exchange(notice_, std::string());
  }

  const SharedModelOptions options;
  const std::shared_ptr<const ModelSpec> shared_spec;
  const ModelSpec& spec;
  std::mutex turn;

 private:
  void check_alive() {
    if (generation_ != fork_generation()) {
      throw Error(Status::closed,
                  "a model that is shared does not survive fork(): load it in the child");
    }
    if (lost_ || has_hung_up(server_.socket.get())) lose();
  }

  [[noreturn]] void lose() {
    if (!lost_.exchange(true)) {
      try {
        left_in_place(server_.place, true);
      } catch (const Error&) {
        // The next server there begins with it.
      }
    }
    throw Error(Status::peer_lost,
                "the model server of this node (process " + std::to_string(server_.process) +
                    ") is gone: load the model again; or load it so that this process computes "
                    "it then (fallback=\"in_process\", DVT_MODEL_SHARED_ELSE_IN_PROCESS)");
  }

  void ask(std::uint64_t weights, const ModelArray* inputs, std::size_t count, std::uint64_t end,
           std::uint64_t room) {
    if (end + room > region_.bytes().size()) replace_region(end + room);
    auto& header = region_.header();
    std::uint64_t offset = CallRegion::first_byte();
    for (std::size_t index = 0; index < count; ++index) {
      const auto bytes = bytes_of(inputs[index]);
      describe(header.inputs[index], inputs[index], offset);
      if (bytes > 0) std::memcpy(region_.bytes().data() + offset, inputs[index].data, bytes);
      offset = aligned(offset + bytes);
    }
    header.input_count = static_cast<std::uint32_t>(count);
    header.weights = weights;
    header.room = end;
    header.needed = 0;
    header.state = CallState::asked;
    asked_ = true;
    reinterpret_cast<ServerBoard*>(server_.board.data())->asked.ring();
    finish();
    if (header.failed != 0) {
      header.text[sizeof header.text - 1] = '\0';
      throw Error(static_cast<Status>(header.status), header.text, header.system_error);
    }
  }

  // Waits for the answer to what was asked, if anything was: a call that gave up leaves one behind.
  void finish() {
    if (!asked_) return;
    auto& header = region_.header();
    const auto look = [this] {
      if (has_hung_up(server_.socket.get()) &&
          region_.header().state.load() != CallState::answered) {
        lose();
      }
      if (options.interrupt) options.interrupt();
    };
    if (!wait_on(
            header.answered, Deadline(options.timeout), look,
            [&] { return header.state.load() == CallState::answered; }, longest_unawareness_ns)) {
      throw Error(Status::timeout,
                  "the model server of this node (process " + std::to_string(server_.process) +
                      ") gave no answer within " + readable_seconds(options.timeout));
    }
    header.state = CallState::idle;
    asked_ = false;
  }

  std::vector<ModelArray> answer() {
    auto& header = region_.header();
    if (header.output_count != spec.outputs.size() || header.output_count > most_call_arrays) {
      throw Error(Status::corrupt, "the model server gave " + std::to_string(header.output_count) +
                                       " outputs instead of " +
                                       std::to_string(spec.outputs.size()));
    }
    joined_ += header.together > 1 ? 1 : 0;
    std::vector<ModelArray> outputs;
    for (std::uint32_t index = 0; index < header.output_count; ++index) {
      const RegionArray described = header.outputs[index];
      outputs.push_back(region_.array(described, shapes_[index]));
    }
    return outputs;
  }

  void replace_region(std::uint64_t bytes) {
    auto larger = new_region(bytes + bytes / 4);
    ModelMessage message;
    message.kind = ModelMessage::region;
    exchange(message, larger.bytes().file());
    region_ = std::move(larger);
  }

  std::uint64_t exchange(ModelMessage& message, int file) {
    check_alive();
    Fd nothing;
    const Deadline deadline(options.timeout);
    if (!send_message(server_.socket.get(), message, file) ||
        !receive_message(server_.socket.get(), message, nothing, deadline)) {
      // An answer that came later would be taken for another's.
      lose();
    }
    if (message.kind == ModelMessage::refused) {
      throw Error(static_cast<Status>(message.number), message.text);
    }
    return message.number;
  }

  CallRegion region_;
  JoinedServer server_;
  const std::uint64_t generation_;
  bool asked_ = false;
  std::int64_t shapes_[most_call_arrays][most_model_axes];
  std::atomic<bool> lost_{false}, said_{false};
  std::mutex notice_mutex_;
  std::string notice_;
  std::atomic<std::int64_t> calls_{0}, joined_{0};
};

// Weights that the server has, and their bytes, for the day that it is gone.
class SentWeights {
 public:
  SentWeights(std::shared_ptr<ServerConnection> connection,
              const std::vector<const ModelArray*>& weights)
      : connection_(std::move(connection)), bytes_(size_of(weights)) {
    std::uint64_t offset = 0;
    for (const auto* array : weights) {
      if (bytes_of(*array) > 0) std::memcpy(bytes_.data() + offset, array->data, bytes_of(*array));
      offset = aligned(offset + bytes_of(*array));
    }
    const std::lock_guard lock(connection_->turn);
    number = connection_->send_weights(bytes_);
  }
  ~SentWeights() { connection_->drop_weights(number); }
  SentWeights(const SentWeights&) = delete;
  SentWeights& operator=(const SentWeights&) = delete;

  void put_into(Model& model) const {
    NamedWeights weights;
    std::vector<std::vector<std::int64_t>> shapes;
    std::uint64_t offset = 0;
    for (const auto& known : model.spec().weights) {
      auto& shape = shapes.emplace_back();
      for (const auto& extent : known.shape) shape.push_back(extent.number);
      ModelArray array;
      array.data = bytes_.data() + offset;
      array.dtype = known.dtype;
      array.rank = static_cast<std::int32_t>(shape.size());
      array.shape = shape.data();
      offset = aligned(offset + bytes_of(array));
      weights.emplace_back(known.name, array);
    }
    model.replace_weights(weights);
  }

  std::uint64_t number = 0;

 private:
  static std::size_t size_of(const std::vector<const ModelArray*>& weights) {
    std::uint64_t bytes = 1;
    for (const auto* array : weights) bytes += aligned(bytes_of(*array));
    return static_cast<std::size_t>(bytes);
  }
  std::shared_ptr<ServerConnection> connection_;
  SharedBytes bytes_;
};

SharedModel::SharedModel(const SharedModelOptions& options)
    : SharedModel(std::make_shared<ServerConnection>(options)) {}
SharedModel::SharedModel(std::shared_ptr<ServerConnection> connection)
    : connection_(std::move(connection)), spec_(connection_->shared_spec) {}
SharedModel::~SharedModel() = default;

const ModelSpec& SharedModel::spec() const { return *spec_; }
SharedModelCounts SharedModel::counts() const { return connection()->counts(); }
std::string SharedModel::take_notice() const { return connection()->take_notice(); }
std::unique_ptr<SharedModel> SharedModel::copy() const {
  return std::unique_ptr<SharedModel>(new SharedModel(connection()));
}

std::shared_ptr<ServerConnection> SharedModel::connection() const {
  auto found = std::atomic_load(&connection_);
  if (!found) throw Error(Status::closed, "the model was closed: load it again");
  return found;
}

void SharedModel::close() {
  const auto held = std::atomic_exchange(&connection_, std::shared_ptr<ServerConnection>());
  if (!held) return;
  const std::lock_guard lock(held->turn);
  weights_ = nullptr;
  here_ = nullptr;
}

namespace {

void check_on_host(const ModelArray* arrays, std::size_t count) {
  if (count > most_call_arrays) {
    throw Error(Status::argument, "a call takes at most 32 arrays");
  }
  for (std::size_t index = 0; index < count; ++index) {
    if (arrays[index].on_device) {
      throw Error(Status::argument,
                  "an array on a device cannot be sent to the model server: copy it to the host, "
                  "or load the model without shared");
    }
  }
}

}  // namespace

bool SharedModel::run_into(const ModelArray* inputs, std::size_t count, const ModelArray* outputs,
                           std::size_t output_count, bool only_finite) {
  check_on_host(inputs, count);
  check_on_host(outputs, output_count);
  const auto connection = this->connection();
  const std::lock_guard lock(connection->turn);
  CallChecks checks(spec());
  checks.take_inputs(inputs, count);
  checks.check_outputs(outputs, output_count);
  connection->count_call();
  std::uint64_t room = 0;
  for (std::size_t index = 0; index < output_count; ++index) {
    room = aligned(room + bytes_of(outputs[index]));
  }
  if (!here_) {
    try {
      const auto answers = connection->call(weights_ ? weights_->number : 0, inputs, count, room);
      for (std::size_t index = 0; index < output_count; ++index) {
        check_room(outputs[index], answers[index], spec().outputs[index].name);
      }
      if (only_finite && !std::all_of(answers.begin(), answers.end(), is_finite)) return false;
      for (std::size_t index = 0; index < output_count; ++index) {
        const auto bytes = bytes_of(outputs[index]);
        if (bytes > 0) std::memcpy(outputs[index].data, answers[index].data, bytes);
      }
      return true;
    } catch (const Error& error) {
      if (error.status != Status::peer_lost || !connection->options.compute_here) throw;
    }
  }
  return here(*connection).run_into(inputs, count, outputs, output_count, only_finite);
}

std::vector<OwnedArray> SharedModel::run(const ModelArray* inputs, std::size_t count) {
  check_on_host(inputs, count);
  const auto connection = this->connection();
  const std::lock_guard lock(connection->turn);
  CallChecks checks(spec());
  checks.take_inputs(inputs, count);
  connection->count_call();
  std::vector<OwnedArray> owned;
  if (!here_) {
    try {
      // What is not known before is asked for once more, with the room that it needs.
      std::uint64_t room = 0;
      for (const auto& output : spec().outputs) {
        auto bytes = static_cast<std::uint64_t>(model_item_bytes(output.dtype));
        for (const auto& extent : output.shape) {
          bytes *= static_cast<std::uint64_t>(std::max<std::int64_t>(checks.extent(extent), 0));
        }
        room = aligned(room + bytes);
      }
      for (const auto& answer :
           connection->call(weights_ ? weights_->number : 0, inputs, count, room)) {
        const auto* const bytes = static_cast<const std::uint8_t*>(answer.data);
        owned.push_back({{bytes, bytes + bytes_of(answer)},
                         answer.dtype,
                         {answer.shape, answer.shape + answer.rank}});
      }
      return owned;
    } catch (const Error& error) {
      if (error.status != Status::peer_lost || !connection->options.compute_here) throw;
    }
  }
  auto& model = here(*connection);
  for (const auto& result : model.run(inputs, count)) {
    const auto& array = result.array;
    auto& made = owned.emplace_back();
    made.dtype = array.dtype;
    made.shape.assign(array.shape, array.shape + array.rank);
    made.bytes.resize(bytes_of(array));
    model.copy_rows(result, 0, array.rank > 0 ? array.shape[0] : 1, made.bytes.data());
  }
  return owned;
}

void SharedModel::replace_weights(const NamedWeights& weights) {
  const auto in_order = checked_weights(weights, spec());
  const auto connection = this->connection();
  if (!here_) {
    try {
      weights_ = std::make_shared<SentWeights>(connection, in_order);
      return;
    } catch (const Error& error) {
      if (error.status != Status::peer_lost || !connection->options.compute_here) throw;
    }
    weights_ = nullptr;
  }
  const std::lock_guard lock(connection->turn);
  here(*connection).replace_weights(weights);
}

Model& SharedModel::here(ServerConnection& connection) {
  if (here_) return *here_;
  const auto& told = connection.options;
  ModelOptions options;
  options.torch_hint = told.torch_hint;
  options.device_index = told.device_index;
  options.most_threads = told.threads > 0 ? told.threads : available_threads();
  here_ = std::make_unique<Model>(ModelPackage::load(told.folder, told.torch_hint), options);
  if (weights_) weights_->put_into(*here_);
  connection.say_once("the model server of this node is gone: the model in " + told.folder +
                      " is computed in this process from now on");
  return *here_;
}

}  // namespace dovetail
