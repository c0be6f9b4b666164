// Waiting for another value under a key: asleep on the server's word, without asking again and
// again.
#pragma once

#include <memory>
#include <string>

#include "redis_questions.hpp"

namespace dovetail::redis {

constexpr double seconds_to_ask = 2;
constexpr double pause_after_loss = 0.05;  // whoever looks meanwhile has a deadline
constexpr double longest_sleep = 0.5;      // after which one looks again, even if nothing woke one

// Hears of the news of a value, from when it is made.
class KeyWatch {
 public:
  KeyWatch(Questions& questions, const std::string& key);
  ~KeyWatch();
  KeyWatch(const KeyWatch&) = delete;
  KeyWatch& operator=(const KeyWatch&) = delete;

  // Returns when there are news, or after so many seconds. To return early for no reason is
  // harmless.
  void wait(double seconds);

 private:
  void listen();
  void drop();

  Questions& questions_;
  const std::string key_, value_, channel_, prefix_;
  Server* server_ = nullptr;
  std::unique_ptr<Connection> connection_;  // nothing: wait() tries again
};

}  // namespace dovetail::redis
