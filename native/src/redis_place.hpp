// URLs of Redis and Valkey: where the server is, and how to be let in. As Python reads them.
//
//   redis://[user[:password]@]host[:port][/db][/name]
//   redis+unix:///path/to/socket[?db=0&name=fields]
//   redis+cluster://[user[:password]@]host[:port][,host[:port]...][/name]
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "url.hpp"

namespace dovetail::redis {

// One server: a host and a port, or a socket.
struct Address {
  std::string host;
  int port = 6379;
  std::string socket;

  std::string text() const;
  bool operator<(const Address& other) const {
    return std::tie(host, port, socket) < std::tie(other.host, other.port, other.socket);
  }
};

struct Access {
  std::string user, password;
};

struct Place {
  std::vector<Address> addresses;
  Access access;
  bool cluster = false;
  int db = 0;
  std::string name;
  std::uint64_t chunk = 0;                // bytes; longer values are cut into pieces of this size
  std::optional<std::uint64_t> capacity;  // what the URL says that the server holds at most
  std::string url;                        // what opens the store again, a password included
  std::string label;                      // the same without the password
};

// Throws Error(Status::invalid_url), or Error(Status::unavailable) for TLS.
Place place_of(const Url& url);

}  // namespace dovetail::redis
