#include "redis_store.hpp"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <numeric>

#include "error.hpp"
#include "fork.hpp"
#include "posix.hpp"
#include "redis_cluster.hpp"
#include "redis_watching.hpp"
#include "stopwatch.hpp"

namespace dovetail::redis {
namespace {

std::unique_ptr<Route> route_to(const Place& place, double timeout) {
  if (place.cluster) return std::make_unique<Cluster>(place, timeout);
  return std::make_unique<Alone>(place, timeout);
}

// Refuses a server that could not keep what a store promises.
void examine(Route& route, Server& server, const Place& place) {
  const auto replies = route.ask_server(server, Request{"INFO", "memory"});
  const auto where = "the server at " + server.address.text();
  auto connection = server.take(route.timeout());
  const auto mode = connection->mode, role = connection->role;
  server.give(std::move(connection));
  if (mode == "sentinel") {
    throw Error(Status::unavailable, where +
                                         " is a sentinel, which keeps no values: give the address "
                                         "of the server that it watches");
  }
  if (mode == "cluster" && !place.cluster) {
    throw Error(Status::unavailable, where + " is part of a cluster: use redis+cluster://");
  }
  if (role != "master") {
    throw Error(Status::capability, where +
                                        " is a replica, which takes no values: give the address of "
                                        "its primary");
  }
  const auto info = replies.only().is_refusal() ? "" : replies.only().text;
  const auto limit = std::strtoull(fact_in(info, "maxmemory").c_str(), nullptr, 10);
  const auto policy = fact_in(info, "maxmemory_policy");
  if (limit != 0 && policy.compare(0, 7, "allkeys") == 0) {
    throw Error(Status::capability,
                where + " throws values away when it is full (maxmemory-policy " + policy +
                    "), and a store loses nothing: set maxmemory-policy noeviction");
  }
  if (place.capacity && (limit == 0 || limit > *place.capacity)) {
    throw Error(Status::capability, "capacity=" + readable_bytes(*place.capacity) +
                                        ": a running server keeps to its own maxmemory, which is " +
                                        (limit == 0 ? "none" : readable_bytes(limit)) +
                                        ": set that, and leave capacity out");
  }
}

iovec part_of(const void* bytes, std::size_t nbytes) { return {const_cast<void*>(bytes), nbytes}; }

std::uint64_t bytes_of_arrays(const Header& header) {
  std::uint64_t bytes = 0;
  for (const auto& entry : header.entries) bytes += entry.nbytes;
  return bytes;
}

// Of a value that others wrote: the same for the same bytes of header.
std::string foreign_version(const std::uint8_t* header, std::uint64_t header_nbytes,
                            std::uint64_t nbytes) {
  std::uint64_t hash = 0xcbf29ce484222325ULL;  // FNV-1a
  for (std::uint64_t i = 0; i < header_nbytes; ++i) hash = (hash ^ header[i]) * 0x100000001b3ULL;
  return "foreign-" + std::to_string(nbytes) + "-" + version_text(hash, 0).substr(0, 16);
}

}  // namespace

// Filled in the memory of this process, and sent when it is committed.
class RedisReservation final : public Reservation {
 public:
  RedisReservation(RedisStore& store, std::string key, Layout layout,
                   const std::vector<Piece>& pieces)
      : store_(store), key_(std::move(key)) {
    memory_ = Memory::on_heap(layout.total);
    std::memcpy(memory_->writable_data(), layout.header.data(), layout.header.size());
    memory_->set_writable(true);
    data_nbytes_ = layout.total - layout.header.size();
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      extents_.emplace_back(layout.offsets[i], pieces[i].nbytes);
    }
  }

  std::string commit(bool) override {
    if (memory_ == nullptr) {
      throw Error(Status::closed, "the reservation is already published or given up");
    }
    const auto memory = std::move(memory_);
    memory_.reset();
    memory->set_writable(false);
    const auto version = store_.strings_.new_version();
    stamp_version(memory->writable_data(), version);
    return store_.publish(key_, version, {part_of(memory->data(), memory->size())}, memory->size(),
                          data_nbytes_);
  }

  void abort() override { memory_.reset(); }

 private:
  RedisStore& store_;
  const std::string key_;
  std::uint64_t data_nbytes_ = 0;
};

RedisStore::RedisStore(const Place& place, double timeout)
    : questions_(route_to(place, timeout), Names(place.name), place.label),
      strings_(questions_, place.chunk),
      lists_(questions_, timeout),
      generation_(fork_generation()) {
  for (auto* const server : questions_.route->each()) examine(*questions_.route, *server, place);
}

std::string RedisStore::put(const std::string& key, std::vector<Piece> pieces,
                            const Metadata& metadata) {
  check();
  for (const auto& piece : pieces) {
    if (piece.nbytes != bytes_of(piece)) {
      throw Error(Status::unsupported, "the array '" + std::string(piece.name) +
                                           "' does not have the size of its shape and dtype");
    }
  }
  auto layout = lay_out(pieces, metadata);
  const auto version = strings_.new_version();
  stamp_version(reinterpret_cast<std::uint8_t*>(layout.header.data()), version);
  std::vector<std::size_t> order(pieces.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return layout.offsets[a] != layout.offsets[b] ? layout.offsets[a] < layout.offsets[b]
                                                  : pieces[a].nbytes < pieces[b].nbytes;
  });
  std::vector<iovec> parts{part_of(layout.header.data(), layout.header.size())};
  for (const auto i : order) {
    if (pieces[i].nbytes != 0) parts.push_back(part_of(pieces[i].data, pieces[i].nbytes));
  }
  return publish(key, version, parts, layout.total, layout.total - layout.header.size());
}

std::string RedisStore::publish(const std::string& key, const std::string& version,
                                const std::vector<iovec>& parts, std::uint64_t nbytes,
                                std::uint64_t data_nbytes) {
  check();
  const Stopwatch stopwatch(counters_.ns_put);
  strings_.write(key, Whole{version, nbytes, parts});
  counters_.puts.fetch_add(1, std::memory_order_relaxed);
  counters_.bytes_put.fetch_add(data_nbytes, std::memory_order_relaxed);
  return version;
}

std::unique_ptr<Reservation> RedisStore::reserve(const std::string& key, std::vector<Piece> pieces,
                                                 const Metadata& metadata) {
  check();
  for (auto& piece : pieces) piece.nbytes = bytes_of(piece);
  return std::make_unique<RedisReservation>(*this, key, lay_out(pieces, metadata), pieces);
}

Value RedisStore::get(const std::string& key) {
  check();
  const Stopwatch stopwatch(counters_.ns_got);
  auto value = find(key);
  if (!value) throw_absent(key);
  counters_.gets.fetch_add(1, std::memory_order_relaxed);
  counters_.bytes_got.fetch_add(bytes_of_arrays(*value->header), std::memory_order_relaxed);
  return std::move(*value);
}

Value RedisStore::stat(const std::string& key) {
  check();
  auto value = find_head(key);
  if (!value) throw_absent(key);
  return std::move(*value);
}

Value RedisStore::wait(const std::string& key, double timeout,
                       const std::optional<std::string>& newer_than, const Interrupt& interrupt) {
  check();
  const Deadline deadline(timeout);
  const auto look = [&]() -> std::optional<Value> {
    if (newer_than) {
      const auto head = find_head(key);
      if (!head || head->version == *newer_than) return std::nullopt;
    }
    auto value = find(key);
    if (value && newer_than && value->version == *newer_than) return std::nullopt;
    return value;
  };
  auto found = look();
  if (!found && !deadline.passed()) {
    const Stopwatch stopwatch(counters_.ns_waited);
    KeyWatch watch(questions_, key);
    while (!(found = look()) && !deadline.passed()) {
      const auto left = static_cast<double>(deadline.remaining_ns()) * 1e-9;
      watch.wait(std::min(left, longest_sleep));
      check();
      interrupt();
    }
  }
  if (!found) {
    throw Error(Status::timeout, std::string("no ") + (newer_than ? "newer " : "") + "value of '" +
                                     key + "' in " + questions_.label + " within " +
                                     readable_seconds(timeout) +
                                     ": is its producer running, and does it use this store?");
  }
  counters_.gets.fetch_add(1, std::memory_order_relaxed);
  counters_.bytes_got.fetch_add(bytes_of_arrays(*found->header), std::memory_order_relaxed);
  return std::move(*found);
}

std::optional<Value> RedisStore::find(const std::string& key) {
  auto memory = strings_.read(key);
  if (memory == nullptr) return std::nullopt;
  auto value = value_in(key, memory->data(), memory->size());
  value.memory = std::move(memory);
  return value;
}

std::optional<Value> RedisStore::find_head(const std::string& key) {
  const auto head = strings_.read_head(key);
  if (!head) return std::nullopt;
  return value_in(key, reinterpret_cast<const std::uint8_t*>(head->prefix.data()), head->nbytes);
}

Value RedisStore::value_in(const std::string& key, const std::uint8_t* prefix,
                           std::uint64_t nbytes) {
  Value value;
  try {
    auto header = std::make_shared<Header>(parse_header(prefix, nbytes));
    value.ours = !header->version.empty();
    value.version =
        value.ours ? header->version : foreign_version(prefix, header->data_start, nbytes);
    value.header = std::move(header);
  } catch (const Error& error) {
    if (error.status != Status::corrupt) throw;
    throw Error(Status::corrupt,
                questions_.named(key) + " is not sound safetensors: " + error.what());
  }
  value.nbytes = nbytes;
  if (value.version.size() == version_digits) {
    value.time = static_cast<double>(number_in_version(value.version)) * 1e-9;
  }
  return value;
}

bool RedisStore::exists(const std::string& key) {
  check();
  return strings_.exists(key);
}

void RedisStore::remove(const std::string& key) {
  check();
  if (!strings_.remove(key)) throw_absent(key);
}

void RedisStore::rename(const std::string& key, const std::string& new_key) {
  check();
  const bool moved = key == new_key ? strings_.exists(key) : strings_.move(key, new_key);
  if (!moved) throw_absent(key);
}

std::vector<std::string> RedisStore::keys(const std::string& prefix) {
  check();
  std::vector<std::string> found;
  for (auto* const server : questions_.route->each()) {
    questions_.scan(*server, questions_.names.values_like(prefix), [&](const auto& names) {
      for (const auto& name : names) {
        if (auto key = questions_.names.key_of(name)) found.push_back(std::move(*key));
      }
    });
  }
  std::sort(found.begin(), found.end());
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

std::uint64_t RedisStore::append(const std::string& list, const std::string& key) {
  check();
  return lists_.append(list, key);
}

std::vector<std::string> RedisStore::items(const std::string& list, std::uint64_t start) {
  check();
  return lists_.items(list, start);
}

std::vector<std::string> RedisStore::wait_items(const std::string& list, std::uint64_t count,
                                                std::uint64_t start, double timeout,
                                                const Interrupt& interrupt) {
  check();
  const Stopwatch stopwatch(counters_.ns_waited);
  const Deadline deadline(timeout);
  std::vector<std::string> found;
  for (;;) {
    const auto left = static_cast<double>(deadline.remaining_ns()) * 1e-9;
    auto more = lists_.wait(list, start + found.size(), std::min(left, longest_sleep));
    found.insert(found.end(), std::make_move_iterator(more.begin()),
                 std::make_move_iterator(more.end()));
    if (found.size() >= count) return found;
    if (deadline.passed()) break;
    check();
    interrupt();
  }
  throw Error(Status::timeout, "the list '" + list + "' in " + questions_.label + " held " +
                                   std::to_string(found.size()) + " of " + std::to_string(count) +
                                   " items from position " + std::to_string(start) + " on after " +
                                   readable_seconds(timeout));
}

void RedisStore::remove_list(const std::string& list) {
  check();
  lists_.remove(list);
}

void RedisStore::destroy() {
  check();
  auto& route = *questions_.route;
  for (auto* const server : route.each()) {
    const auto unlink = [&](const std::vector<std::string>& names) {
      Request request;
      for (const auto& name : names) request.add({"UNLINK", name});
      if (request.count() != 0) route.ask_server(*server, request);
    };
    for (const auto& pattern : questions_.names.all_but_values()) {
      questions_.scan(*server, pattern, unlink);
    }
    questions_.scan(*server, questions_.names.values_like(""), [&](const auto& names) {
      Request request;
      const auto last = std::to_string(Manifest::bytes - 1);
      for (const auto& name : names) request.add({"GETRANGE", name, "0", last});
      if (request.count() == 0) return;
      const auto beginnings = route.ask_server(*server, request);
      std::vector<std::string> ours;
      for (std::size_t i = 0; i < names.size(); ++i) {
        const auto& beginning = beginnings.list[i];
        if (beginning.is_text() && is_ours(beginning.text)) ours.push_back(names[i]);
      }
      unlink(ours);
    });
  }
  disconnect();
}

void RedisStore::disconnect() {
  closed_ = true;
  // A forked child lets go of its copies of the connections with this object.
  if (generation_ == fork_generation()) questions_.route->close();
}

void RedisStore::check() const {
  if (generation_ != fork_generation()) {
    throw Error(Status::closed, "the store " + questions_.label +
                                    " belongs to the process that opened it, not to a forked "
                                    "child: open it again");
  }
  if (closed_) {
    throw Error(Status::closed, "the store " + questions_.label + " is closed; open it again");
  }
}

void RedisStore::throw_absent(const std::string& key) const {
  throw Error(Status::key_not_found, "there is no value '" + key + "' in " + questions_.label);
}

}  // namespace dovetail::redis
