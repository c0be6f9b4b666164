// What the parts of one store share: its servers, its names, and how refusals become errors.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "redis_names.hpp"
#include "redis_routes.hpp"

namespace dovetail::redis {

class Questions {
 public:
  Questions(std::unique_ptr<Route> route, Names names, std::string label)
      : route(std::move(route)), names(std::move(names)), label(std::move(label)) {}

  // Asks the server that has `name`, and throws for what it refuses. `key`: what it is about, for
  // messages; `nbytes`: what the server was to take.
  Replies ask(const std::string& key, const std::string& name, const Request& request,
              std::uint64_t nbytes = 0);
  // The names on a server that match a pattern, some at a time.
  void scan(Server& server, const std::string& pattern,
            const std::function<void(const std::vector<std::string>&)>& visit);

  struct Memory {
    std::uint64_t used = 0, most = 0;
  };
  Memory memory();  // what the servers hold, and the most that they may

  // "the value of 'u' in redis://host/name"
  std::string named(const std::string& key) const;
  [[noreturn]] void throw_refused(const Reply& refusal, const std::string& what) const;

  const std::unique_ptr<Route> route;
  const Names names;
  const std::string label;

 private:
  void judge(const Replies& replies, const std::string& key, std::uint64_t nbytes);
};

}  // namespace dovetail::redis
