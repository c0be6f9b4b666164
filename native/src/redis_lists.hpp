// Aggregation lists as streams on the servers: each item once, in order of arrival.
#pragma once

#include <cstdint>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "redis_questions.hpp"

namespace dovetail::redis {

class Lists {
 public:
  // `timeout`: seconds that an append may be tried for.
  Lists(Questions& questions, double timeout);

  std::uint64_t append(const std::string& list, const std::string& item);
  std::vector<std::string> items(const std::string& list, std::uint64_t start);
  // The items from `start` on; if there are none, those that come within so many seconds.
  std::vector<std::string> wait(const std::string& list, std::uint64_t start, double seconds);
  void remove(const std::string& list);

 private:
  // Has at most one append under way, and numbers them.
  struct Sender {
    std::string name;
    std::uint64_t number = 0;
  };
  Sender take_sender();
  // Nothing if the list has to be looked at: it is long, or the server was lost or refuses.
  std::optional<std::vector<std::string>> come(const std::string& name, std::uint64_t start,
                                               double seconds);

  Questions& questions_;
  const double timeout_;
  const std::string receipt_seconds_;
  std::mutex mutex_;
  std::vector<Sender> senders_;
};

}  // namespace dovetail::redis
