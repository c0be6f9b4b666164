// One connection to one server, from its greeting to its end. One thread uses it at a time.
#pragma once

#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "redis_place.hpp"
#include "redis_reply.hpp"
#include "redis_request.hpp"

namespace dovetail::redis {

// The connection is of no use any more, or none came about. Whether what was sent is done, nobody
// knows.
struct Trouble : std::runtime_error {
  explicit Trouble(const std::string& how, bool silent = false)
      : std::runtime_error(how), silent(silent) {}
  bool silent;  // the server is there, and says nothing
};

class Connection {
 public:
  // Within `timeout` seconds; later, a server that is silent for `silence` is given up. Below 0:
  // for ever. Throws Trouble, or Error where trying again would not help.
  Connection(const Address& address, const Access& access, int db, double timeout, double silence);
  ~Connection();
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // Throws Trouble.
  Replies exchange(const Request& request);
  void send(const Request& request);
  // What comes next, of itself or as an answer; nothing if it does not come within so many seconds.
  std::optional<Reply> receive(Replies& into, double seconds);

  const Address address;
  std::int64_t id = 0;  // the server's number for this connection
  std::string run;      // names this run of the server process; empty if it does not tell us
  std::string mode;     // "standalone", "cluster" or "sentinel"
  std::string role;     // "master" or "replica"
  std::string version;  // of the server
  int major = 0, minor = 0;

 private:
  void greet(const Access& access, int db, double timeout);
  [[noreturn]] void turned_away(const Reply& refusal, bool with_password);
  Reply taken(const void* reply) const;
  bool wait_for(short events, double seconds);

  const dovetail_redis_wire& wire_;
  void* handle_ = nullptr;
  int fd_ = -1;
  const double silence_;
  std::string first_;  // the first bytes that came, for errors
  std::uint64_t received_ = 0;
  bool greeted_ = false;
};

// What a reply to INFO says under a name; empty if it says nothing.
std::string fact_in(std::string_view info, const std::string& name);

}  // namespace dovetail::redis
