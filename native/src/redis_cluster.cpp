#include "redis_cluster.hpp"

#include <algorithm>
#include <cstdlib>

#include "clock.hpp"
#include "error.hpp"
#include "redis_names.hpp"

namespace dovetail::redis {
namespace {

constexpr double seconds_to_ask =
    2;  // for one server to be reached when the cluster is looked over
constexpr std::int64_t looked_just_now_ns = 50'000'000;
constexpr int sharded_since = 7;

double at_most(double seconds, double most) { return seconds < 0 ? most : std::min(seconds, most); }

}  // namespace

Server* Cluster::Map::at(int slot) const {
  const auto exception = moved.find(slot);
  if (exception != moved.end()) return exception->second;
  for (const auto& range : ranges) {
    if (slot >= range.first && slot <= range.last) return range.server;
  }
  return nullptr;
}

std::string Cluster::Map::missing() const {
  std::string list;
  int expected = 0;
  const auto lacks = [&](int until) {
    if (until <= expected) return;
    list += (list.empty() ? "" : ", ") + std::to_string(expected) + "-" + std::to_string(until - 1);
  };
  for (const auto& range : ranges) {
    lacks(range.first);
    expected = range.last + 1;
  }
  lacks(slot_count);
  return list;
}

Cluster::Cluster(const Place& place, double timeout)
    : Route(timeout), seeds_(place.addresses), access_(place.access) {
  split = true;
  reach();
  auto& server = *each().front();
  auto connection = server.take(timeout);
  sharded_news = connection->major >= sharded_since;
  server.give(std::move(connection));
}

void Cluster::reach() {
  Patience patience(timeout_);
  for (;;) {
    std::int64_t since = 0;
    try {
      look(patience.left());
      const auto map = known();
      if (map->missing().empty()) return;
      if (patience.used_up()) throw_incomplete(*map);
    } catch (const Lost& lost) {
      since = lost.since;
      if (!patience.used_up(since)) continue;
      std::string seeds;
      for (const auto& seed : seeds_) seeds += (seeds.empty() ? "" : ", ") + seed.text();
      throw Error(Status::timeout, "no server of the cluster could be reached at " + seeds + " " +
                                       patience.text() + ": " + lost.how +
                                       ". Start it, or correct the URL");
    }
  }
}

Replies Cluster::ask(std::string_view key, const Request& request) {
  Patience patience(timeout_);
  const auto slot = slot_of(key);
  for (;;) {
    const auto map = known();
    auto* const server = map->at(slot);
    if (server == nullptr) {
      if (patience.used_up()) throw_incomplete(*map);
      look_again(patience);
      continue;
    }
    try {
      auto replies = server->exchange(request, at_most(patience.left(), seconds_to_ask));
      const auto* const moved = refusal_with(replies, {"MOVED"});
      if (moved != nullptr) {
        take_note(*moved);
        if (patience.used_up()) throw_still(*server, *moved, patience);
        continue;
      }
      // ASK: its slot is being moved, and transactions can follow only when it has arrived.
      const auto* hindrance = refusal_with(replies, {"ASK"});
      if (hindrance == nullptr) hindrance = passing_refusal(replies);
      if (hindrance == nullptr) {
        replies.again = patience.tried();
        return replies;
      }
      if (patience.used_up()) throw_still(*server, *hindrance, patience);
    } catch (const Lost& lost) {
      if (patience.used_up(lost.since)) throw_gone(*server, lost, patience);
    }
    look_again(patience);
  }
}

Server& Cluster::server_of(std::string_view key) {
  const auto slot = slot_of(key);
  if (known()->at(slot) == nullptr) look_again(Patience(timeout_));
  const auto map = known();
  auto* const server = map->at(slot);
  if (server == nullptr) throw_incomplete(*map);
  return *server;
}

std::vector<Server*> Cluster::each() {
  std::vector<Server*> servers;
  for (const auto& range : known()->ranges) {
    if (std::find(servers.begin(), servers.end(), range.server) == servers.end()) {
      servers.push_back(range.server);
    }
  }
  return servers;
}

void Cluster::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  for (const auto& [address, server] : servers_) server->close();
}

std::shared_ptr<const Cluster::Map> Cluster::known() {
  const std::lock_guard lock(mutex_);
  return map_;
}

void Cluster::look_again(const Patience& patience) {
  {
    const std::lock_guard lock(mutex_);
    if (monotonic_ns() - looked_ <= looked_just_now_ns) return;
  }
  try {
    look(patience.left());
  } catch (const Lost&) {  // whoever asks next meets it, and has a deadline
  }
}

void Cluster::look(double patience, const std::vector<Address>& first) {
  const auto began = monotonic_ns();
  std::string how = "nobody was asked";
  auto candidates = first;
  candidates.insert(candidates.end(), seeds_.begin(), seeds_.end());
  for (const auto* server : each()) candidates.push_back(server->address);
  bool alone = false;
  for (const auto& address : candidates) {
    try {
      const auto replies = server_at(address).exchange(Request{"CLUSTER", "SLOTS"},
                                                       at_most(patience, seconds_to_ask));
      const auto& reply = replies.only();
      if (reply.is_refusal()) {
        if (reply.text.find("cluster support disabled") != std::string_view::npos) {
          throw Error(Status::unavailable,
                      "the server at " + address.text() + " is no part of a cluster: use redis://");
        }
        how = address.text() + ": " + std::string(reply.text.substr(0, 200));
        continue;
      }
      auto map = map_in(address, reply);
      alone = map->ranges.empty();
      const std::lock_guard lock(mutex_);
      map_ = std::move(map);
      looked_ = monotonic_ns();
      if (!alone) return;
      how = address.text() + " knows no other server";
    } catch (const Lost& lost) {
      how = address.text() + ": " + lost.how;
    } catch (const Error& error) {
      if (error.status != Status::timeout) throw;
      how = address.text() + ": " + error.what();
    }
  }
  if (!alone) throw Lost{how, began, false};
}

std::shared_ptr<const Cluster::Map> Cluster::map_in(const Address& asked, const Reply& reply) {
  auto map = std::make_shared<Map>();
  for (const auto& range : reply.list) {
    if (range.list.size() < 3 || range.list[2].list.size() < 2) continue;
    Address address;
    address.host = std::string(range.list[2].list[0].text);
    if (address.host.empty() || address.host == "?") address.host = asked.host;
    address.port = static_cast<int>(range.list[2].list[1].integer);
    map->ranges.push_back({static_cast<int>(range.list[0].integer),
                           static_cast<int>(range.list[1].integer), &server_at(address)});
  }
  std::sort(map->ranges.begin(), map->ranges.end(),
            [](const Range& a, const Range& b) { return a.first < b.first; });
  return map;
}

// A slot has moved: looks where all of them are now, and believes who said it of this one. The
// server that it names may not have heard of all others yet.
void Cluster::take_note(const Reply& moved) {
  const std::string text(moved.text);  // "MOVED 3999 127.0.0.1:6381"
  const auto blank = text.find(' ', 6);
  const auto colon = text.rfind(':');
  if (blank == std::string::npos || colon == std::string::npos || colon <= blank + 1) {
    look_again(Patience(timeout_));  // the server does not say where it can be reached
    return;
  }
  Address there;
  there.host = text.substr(blank + 1, colon - blank - 1);
  if (there.host.front() == '[') there.host = there.host.substr(1, there.host.size() - 2);
  there.port = std::atoi(text.c_str() + colon + 1);
  try {
    look(seconds_to_ask, {there});
  } catch (const Lost&) {
    return;  // whoever asks next meets it, and has a deadline
  }
  auto& server = server_at(there);
  const std::lock_guard lock(mutex_);
  auto map = std::make_shared<Map>(*map_);
  map->moved[std::atoi(text.c_str() + 6)] = &server;
  map_ = std::move(map);
}

Server& Cluster::server_at(const Address& address) {
  const std::lock_guard lock(mutex_);
  auto& server = servers_[address];
  if (server == nullptr) {
    server = std::make_unique<Server>(address, access_, 0, timeout_);
    if (closed_) server->close();
  }
  return *server;
}

void Cluster::throw_incomplete(const Map& map) {
  throw Error(Status::unavailable,
              "the cluster at " + seeds_[0].text() + " is not complete: no server has the slots " +
                  map.missing() + ". Give them to one (redis-cli --cluster fix " +
                  seeds_[0].text() + ")");
}

}  // namespace dovetail::redis
