// A Store on a server of Redis or Valkey, or on a cluster of them. What lies where is written down
// in docs/engines/redis-key-layout.md; Python keeps the same.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "redis_lists.hpp"
#include "redis_place.hpp"
#include "redis_questions.hpp"
#include "redis_strings.hpp"
#include "store.hpp"

namespace dovetail::redis {

class RedisStore final : public Store {
 public:
  // Reaches the servers, and sees that they can keep what a store promises. `timeout`: seconds for
  // that, and for each operation from the moment on at which the server is silent or gone; below
  // 0: for ever.
  RedisStore(const Place& place, double timeout);
  ~RedisStore() override { disconnect(); }

  std::string put(const std::string& key, std::vector<Piece> pieces,
                  const Metadata& metadata) override;
  std::unique_ptr<Reservation> reserve(const std::string& key, std::vector<Piece> pieces,
                                       const Metadata& metadata) override;
  Value get(const std::string& key) override;
  Value stat(const std::string& key) override;
  Value wait(const std::string& key, double timeout, const std::optional<std::string>& newer_than,
             const Interrupt& interrupt) override;
  bool exists(const std::string& key) override;
  void remove(const std::string& key) override;
  void rename(const std::string& key, const std::string& new_key) override;
  std::vector<std::string> keys(const std::string& prefix) override;

  std::uint64_t append(const std::string& list, const std::string& key) override;
  std::vector<std::string> items(const std::string& list, std::uint64_t start) override;
  std::vector<std::string> wait_items(const std::string& list, std::uint64_t count,
                                      std::uint64_t start, double timeout,
                                      const Interrupt& interrupt) override;
  void remove_list(const std::string& list) override;

  void flush() override { check(); }
  void destroy() override;
  void disconnect() override;
  std::uint64_t bytes_held() override { return questions_.memory().used; }
  std::uint64_t capacity() override { return questions_.memory().most; }
  std::uint64_t blocks_recycled() override { return 0; }

 private:
  friend class RedisReservation;

  void check() const;  // throws Error(Status::closed)
  std::string publish(const std::string& key, const std::string& version,
                      const std::vector<iovec>& parts, std::uint64_t nbytes,
                      std::uint64_t data_nbytes);
  std::optional<Value> find(const std::string& key);
  std::optional<Value> find_head(const std::string& key);
  Value value_in(const std::string& key, const std::uint8_t* prefix, std::uint64_t nbytes);
  [[noreturn]] void throw_absent(const std::string& key) const;

  Questions questions_;
  Strings strings_;
  Lists lists_;
  const std::uint64_t generation_;  // of the process that opened it
  std::atomic<bool> closed_{false};
};

}  // namespace dovetail::redis
