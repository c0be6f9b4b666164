// How a question finds the server that has the key, and is asked until it is answered.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "redis_servers.hpp"

namespace dovetail::redis {

// Trying again, ever more slowly, until a deadline that begins with the first trouble.
class Patience {
 public:
  explicit Patience(double timeout) : timeout_(timeout) {}

  bool tried() const { return tried_; }
  double left() const;  // seconds; below 0: for ever
  // Whether it is over; otherwise waits a little. `since`: when the trouble began; 0: now.
  bool used_up(std::int64_t since = 0);
  std::string text() const;  // "within 5 s"

 private:
  const double timeout_;
  bool tried_ = false;
  std::int64_t end_ = 0;
  double pause_ = 0;
};

void rest(double seconds);

// Where keys are, alone or in a cluster.
class Route {
 public:
  explicit Route(double timeout) : timeout_(timeout) {}
  virtual ~Route() = default;

  // Sends commands about one key. What was lost on the way is sent again, and what the server
  // cannot do yet, too, until the deadline: so it must be harmless to do twice.
  virtual Replies ask(std::string_view key, const Request& request) = 0;
  // The same, of a certain server.
  Replies ask_server(Server& server, const Request& request) const;
  virtual Server& server_of(std::string_view key) = 0;
  virtual std::vector<Server*> each() = 0;  // all servers that hold keys
  virtual void close() = 0;
  double timeout() const { return timeout_; }

  bool sharded_news = false;  // whether news go through sharded channels
  bool split = false;         // whether keys of different slots may lie on different servers

 protected:
  const double timeout_;
};

// One server that has every key.
class Alone final : public Route {
 public:
  Alone(const Place& place, double timeout);
  Replies ask(std::string_view key, const Request& request) override;
  Server& server_of(std::string_view) override { return server_; }
  std::vector<Server*> each() override { return {&server_}; }
  void close() override { server_.close(); }

 private:
  Server server_;
};

// Refusals that may not come again; nothing if there is none.
const Reply* passing_refusal(const Replies& replies);
const Reply* refusal_with(const Replies& replies, const std::vector<std::string_view>& codes);
[[noreturn]] void throw_gone(Server& server, const Lost& how, const Patience& patience);
[[noreturn]] void throw_still(const Server& server, const Reply& refusal, const Patience& patience);

}  // namespace dovetail::redis
