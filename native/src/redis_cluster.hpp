// A cluster as a route to every key: which server has which slots, and following what moves.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "redis_routes.hpp"

namespace dovetail::redis {

class Cluster final : public Route {
 public:
  // Looks the cluster over, and waits until its servers have every slot. One address that answers
  // is enough. Throws Error(Status::unavailable), Error(Status::timeout), Error(Status::access).
  Cluster(const Place& place, double timeout);

  Replies ask(std::string_view key, const Request& request) override;
  Server& server_of(std::string_view key) override;
  std::vector<Server*> each() override;
  void close() override;

 private:
  struct Range {
    int first, last;
    Server* server;
  };
  struct Map {
    std::vector<Range> ranges;     // ascending
    std::map<int, Server*> moved;  // where slots are that have moved since
    Server* at(int slot) const;    // nothing if no server has it
    std::string missing() const;   // the ranges of slots that no server has
  };

  std::shared_ptr<const Map> known();
  void reach();
  void look(double patience, const std::vector<Address>& first = {});
  // Unless somebody has just done so.
  void look_again(const Patience& patience);
  std::shared_ptr<const Map> map_in(const Address& asked, const Reply& reply);
  void take_note(const Reply& moved);
  Server& server_at(const Address& address);
  [[noreturn]] void throw_incomplete(const Map& map);

  const std::vector<Address> seeds_;
  const Access access_;
  std::mutex mutex_;
  std::map<Address, std::unique_ptr<Server>> servers_;
  std::shared_ptr<const Map> map_ = std::make_shared<Map>();
  std::int64_t looked_ = 0;
  bool closed_ = false;
};

}  // namespace dovetail::redis
