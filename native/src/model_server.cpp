#include "model_server.hpp"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <new>
#include <thread>

#include "error.hpp"

namespace dovetail {

namespace {

void nothing() {}

}  // namespace

ModelServer::ModelServer(std::unique_ptr<Model> model, const ModelServerOptions& options)
    : model_(std::move(model)),
      options_(options),
      listening_(listen_in(options.place)),
      board_bytes_(sizeof(ServerBoard)),
      board_(*new (board_bytes_.data()) ServerBoard{}),
      joins_(options.join && joins_samples(*model_)),
      most_rows_(most_rows_of(model_->spec())) {}

void ModelServer::serve() {
  std::thread doorman([this] { let_in_and_out(); });
  while (!ending_) {
    const auto awake = [this] { return ending_ || anyone_asked(); };
    if (!wait_on(board_.asked, Deadline(-1), nothing, awake, nanoseconds_per_second)) continue;
    if (joins_ && options_.gather > 0) {
      wait_on(board_.asked, Deadline(options_.gather), nothing,
              [this] { return ending_ || everyone_asked(); });
    }
    const auto calls = take_calls();
    for (std::size_t begin = 0; begin < calls.size();) {
      const auto end = joins_ ? that_go_together(calls, begin, most_rows_) : begin + 1;
      ++board_.runs;
      answer_together(calls.data() + begin, end - begin);
      begin = end;
    }
  }
  doorman.join();
}

bool ModelServer::has_asked(const Rank& rank) const {
  return rank.region && rank.region->header().state.load() == CallState::asked;
}

bool ModelServer::anyone_asked() {
  const std::lock_guard lock(mutex_);
  return std::any_of(ranks_.begin(), ranks_.end(),
                     [this](const auto& rank) { return has_asked(*rank); });
}

bool ModelServer::everyone_asked() {
  const std::lock_guard lock(mutex_);
  return std::all_of(ranks_.begin(), ranks_.end(),
                     [this](const auto& rank) { return !rank->expected || has_asked(*rank); });
}

std::vector<AskedCall> ModelServer::take_calls() {
  const std::lock_guard lock(mutex_);
  std::vector<AskedCall> calls;
  for (const auto& rank : ranks_) {
    // Who is not there now is not waited for again, until it is.
    rank->expected = has_asked(*rank);
    if (!rank->expected) continue;
    try {
      calls.push_back(read(*rank));
    } catch (const std::exception& error) {
      answer_failed(*rank->region, error);
    }
  }
  if (joins_) {  // those of one version, and of one shape, side by side
    std::stable_sort(calls.begin(), calls.end(), [](const AskedCall& one, const AskedCall& other) {
      if (one.model != other.model) return one.model < other.model;
      for (std::size_t index = 0; index < one.shapes.size(); ++index) {
        const auto &a = one.shapes[index], &b = other.shapes[index];
        const std::vector<std::int64_t> left(a.begin() + 1, a.end()), right(b.begin() + 1, b.end());
        if (left != right) return left < right;
      }
      return false;
    });
  }
  return calls;
}

AskedCall ModelServer::read(const Rank& rank) {
  AskedCall call;
  call.region = rank.region;
  const auto& header = rank.region->header();
  const std::uint64_t number = header.weights;
  const std::uint32_t count = header.input_count;
  if (count > most_call_arrays) {
    throw Error(Status::corrupt, "a call describes " + std::to_string(count) + " inputs");
  }
  const auto weights = weights_.find(number);
  if (number != 0 && weights == weights_.end()) {
    throw Error(Status::argument, "the model server has no weights " + std::to_string(number));
  }
  call.model = number == 0 ? model_ : weights->second.model;
  for (std::uint32_t index = 0; index < count; ++index) {
    const RegionArray described = header.inputs[index];
    std::int64_t shape[most_model_axes];
    auto array = rank.region->array(described, shape);
    auto& kept = call.shapes.emplace_back(shape, shape + array.rank);
    array.shape = kept.data();
    call.inputs.push_back(array);
  }
  CallChecks(model_->spec()).take_inputs(call.inputs.data(), call.inputs.size());
  return call;
}

void ModelServer::let_in_and_out() {
  for (;;) {
    std::vector<pollfd> polled{{listening_.get(), POLLIN, 0}};
    std::vector<std::shared_ptr<Rank>> ranks;
    {
      const std::lock_guard lock(mutex_);
      ranks = ranks_;
    }
    for (const auto& rank : ranks) {
      polled.push_back({rank->socket.get(), POLLIN | POLLRDHUP, 0});
    }
    // With nobody there, it is looked now and then whether somebody is on the way.
    const int ready = ::poll(polled.data(), polled.size(), ranks.empty() ? 20 : 1000);
    if (ready > 0 && polled[0].revents != 0) accept_ranks();
    for (std::size_t place = 0; ready > 0 && place < ranks.size(); ++place) {
      const auto seen = polled[place + 1].revents;
      if (seen == 0) continue;
      if ((seen & POLLIN) == 0 || !listen_to(ranks[place])) forget(ranks[place]);
    }
    bool empty = false;
    {
      const std::lock_guard lock(mutex_);
      empty = ranks_.empty();
    }
    if (empty && may_end()) break;
  }
  ending_ = true;
  board_.asked.ring();
}

bool ModelServer::may_end() const {
  // Whoever starts or joins a server holds this lock until it has been let in.
  const auto path = options_.place + "/lock";
  const Fd lock(::open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!lock) return true;  // somebody has removed the folder: nobody can come
  if (::flock(lock.get(), LOCK_EX | LOCK_NB) != 0) return false;
  pollfd polled{listening_.get(), POLLIN, 0};
  if (::poll(&polled, 1, 0) > 0) return false;
  const auto slash = options_.place.rfind('/');
  const auto parent = open_directory(options_.place.substr(0, slash));
  remove_tree_at(parent.get(), options_.place.substr(slash + 1));
  return true;
}

void ModelServer::accept_ranks() {
  Fd socket = accept_from(listening_.get());
  if (!socket) return;
  auto rank = std::make_shared<Rank>();
  rank->socket = std::move(socket);
  const std::lock_guard lock(mutex_);
  ranks_.push_back(std::move(rank));
}

bool ModelServer::listen_to(const std::shared_ptr<Rank>& rank) {
  ModelMessage asked;
  Fd file;
  if (!receive_message(rank->socket.get(), asked, file, Deadline(0))) return false;
  ModelMessage answered;
  try {
    answered = answer(*rank, asked, std::move(file));
  } catch (const Error& error) {
    answered = refusal_of(error);
  } catch (const std::exception& error) {
    answered = refusal_of(Error(Status::system, error.what()));
  }
  if (asked.kind == ModelMessage::drop) return true;
  const bool joined = asked.kind == ModelMessage::join;
  return send_message(rank->socket.get(), answered, joined ? board_bytes_.file() : -1);
}

void ModelServer::forget(const std::shared_ptr<Rank>& rank) {
  const std::lock_guard lock(mutex_);
  while (!rank->weights.empty()) drop_weights(*rank, rank->weights.back());
  if (rank->region) --board_.ranks;
  ranks_.erase(std::remove(ranks_.begin(), ranks_.end(), rank), ranks_.end());
  board_.asked.ring();  // the others need not wait for it
}

ModelMessage ModelServer::answer(Rank& rank, const ModelMessage& asked, Fd file) {
  if (asked.version != ModelMessage::version_here) {
    throw Error(Status::format_version,
                "the model server of this node is of another version of Dovetail: end the "
                "simulations that use it first");
  }
  ModelMessage done;
  done.kind = ModelMessage::done;
  switch (asked.kind) {
    case ModelMessage::join:
    case ModelMessage::region: {
      auto region = std::make_shared<CallRegion>(SharedBytes(std::move(file)));
      if (asked.kind == ModelMessage::join) use_processors_of(asked.processors);
      const std::lock_guard lock(mutex_);
      if (!rank.region) ++board_.ranks;
      rank.region = std::move(region);
      rank.expected = asked.kind == ModelMessage::join || rank.expected;
      done.number = static_cast<std::uint64_t>(::getpid());
      return done;
    }
    case ModelMessage::weights:
      done.number = take_weights(rank, SharedBytes(std::move(file)));
      return done;
    case ModelMessage::drop: {
      const std::lock_guard lock(mutex_);
      drop_weights(rank, asked.number);
      return done;
    }
    default:
      throw Error(Status::corrupt, "a model server knows no message " + std::to_string(asked.kind));
  }
}

std::uint64_t ModelServer::take_weights(Rank& rank, SharedBytes bytes) {
  {
    const std::lock_guard lock(mutex_);
    for (auto& [number, known] : weights_) {
      if (known.bytes->size() != bytes.size() ||
          std::memcmp(known.bytes->data(), bytes.data(), bytes.size()) != 0) {
        continue;
      }
      ++known.uses;
      rank.weights.push_back(number);
      return number;
    }
  }
  NamedWeights weights;
  std::vector<std::vector<std::int64_t>> shapes;
  std::uint64_t offset = 0;
  for (const auto& known : model_->spec().weights) {
    auto& shape = shapes.emplace_back();
    for (const auto& extent : known.shape) shape.push_back(extent.number);
    ModelArray array;
    array.data = bytes.data() + offset;
    array.dtype = known.dtype;
    array.rank = static_cast<std::int32_t>(shape.size());
    array.shape = shape.data();
    offset = aligned(offset + bytes_of(array));
    if (offset > aligned(bytes.size())) {
      throw Error(Status::corrupt, "the weights that were sent are too few");
    }
    weights.emplace_back(known.name, array);
  }
  std::shared_ptr<Model> model = model_->copy();
  model->replace_weights(weights);
  const std::lock_guard lock(mutex_);
  weights_[++last_weights_] = {std::make_shared<SharedBytes>(std::move(bytes)), std::move(model),
                               1};
  rank.weights.push_back(last_weights_);
  return last_weights_;
}

void ModelServer::drop_weights(Rank& rank, std::uint64_t number) {
  const auto held = std::find(rank.weights.begin(), rank.weights.end(), number);
  if (held == rank.weights.end()) return;
  rank.weights.erase(held);
  const auto known = weights_.find(number);
  if (known != weights_.end() && --known->second.uses == 0) weights_.erase(known);
}

void ModelServer::use_processors_of(const cpu_set_t& processors) {
  // A rank that waits for the model lends it its processors.
  cpu_set_t all;
  CPU_OR(&all, &processors_, &processors);
  if (CPU_EQUAL(&all, &processors_)) return;
  processors_ = all;
  DIR* const threads = ::opendir("/proc/self/task");
  if (threads == nullptr) return;
  while (const dirent* const entry = ::readdir(threads)) {
    const int thread = std::atoi(entry->d_name);
    if (thread > 0) ::sched_setaffinity(thread, sizeof all, &all);
  }
  ::closedir(threads);
}

}  // namespace dovetail
