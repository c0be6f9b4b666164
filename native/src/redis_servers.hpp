// The connections of one store handle to one server, shared by threads.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "redis_connection.hpp"

namespace dovetail::redis {

// A connection was lost, or none came about; whether commands were done, nobody knows.
struct Lost {
  std::string how;
  std::int64_t since;  // when the trouble began, on the monotonic clock
  bool silent;         // the server is there, and says nothing
};

class Server {
 public:
  // `timeout`: seconds that an operation may take without a sign of life; below 0: for ever.
  Server(Address address, Access access, int db, double timeout);

  // A connection for one thread, to be given back, or lost. `patience`: seconds for making a new
  // one. Throws Lost, or Error.
  std::unique_ptr<Connection> take(double patience);
  void give(std::unique_ptr<Connection> connection);
  // It ended, or is of no use, with commands under way.
  void lose(std::unique_ptr<Connection> connection);

  // Sends commands on some connection. Throws Lost: they may have been done, or not, and are not
  // done any more once another exchange has begun; or Error(Status::timeout) if the server kept
  // silent.
  Replies exchange(const Request& request, double patience);
  void close();
  bool met();  // whether it has ever answered

  const Address address;

 private:
  struct Suspect {
    std::string run;
    std::int64_t id;
  };
  std::unique_ptr<Connection> connect(double patience);
  void forestall(std::unique_ptr<Connection>& connection, const std::vector<Suspect>& suspects);

  const Access access_;
  const int db_;
  const double timeout_;
  std::mutex mutex_;
  std::vector<std::unique_ptr<Connection>> idle_;
  std::vector<Suspect> suspects_;  // connections that were lost; the server may still read them
  bool closed_ = false, met_ = false;
};

}  // namespace dovetail::redis
