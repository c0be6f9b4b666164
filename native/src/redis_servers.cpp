#include "redis_servers.hpp"

#include <algorithm>

#include "clock.hpp"
#include "error.hpp"
#include "posix.hpp"

namespace dovetail::redis {
namespace {

constexpr double shortest_try = 0.01;

// The less of two spans, of which one below 0 has no end.
double lesser(double a, double b) {
  if (a < 0) return b;
  return b < 0 ? a : std::min(a, b);
}

}  // namespace

Server::Server(Address to, Access access, int db, double timeout)
    : address(std::move(to)), access_(std::move(access)), db_(db), timeout_(timeout) {}

std::unique_ptr<Connection> Server::take(double patience) {
  std::unique_ptr<Connection> connection;
  std::vector<Suspect> suspects;
  {
    const std::lock_guard lock(mutex_);
    if (closed_) {
      throw Error(Status::closed, "the connections to " + address.text() + " are closed");
    }
    if (!idle_.empty()) {
      connection = std::move(idle_.back());
      idle_.pop_back();
    }
    suspects.swap(suspects_);
  }
  try {
    if (connection == nullptr) connection = connect(patience);
    if (!suspects.empty()) forestall(connection, suspects);
  } catch (...) {
    const std::lock_guard lock(mutex_);
    suspects_.insert(suspects_.end(), suspects.begin(), suspects.end());
    throw;
  }
  return connection;
}

void Server::give(std::unique_ptr<Connection> connection) {
  const std::lock_guard lock(mutex_);
  if (!closed_) idle_.push_back(std::move(connection));
}

void Server::lose(std::unique_ptr<Connection> connection) {
  Suspect suspect{connection->run, connection->id};
  connection.reset();
  if (suspect.run.empty()) return;
  const std::lock_guard lock(mutex_);
  suspects_.push_back(std::move(suspect));
}

Replies Server::exchange(const Request& request, double patience) {
  auto connection = take(patience);
  try {
    auto replies = connection->exchange(request);
    give(std::move(connection));
    return replies;
  } catch (const Trouble& trouble) {
    lose(std::move(connection));
    if (!trouble.silent) throw Lost{trouble.what(), monotonic_ns(), false};
    throw Error(Status::timeout, "the server at " + address.text() + " kept silent for " +
                                     readable_seconds(timeout_) +
                                     ": is it overloaded or stopped? Allow more time");
  } catch (...) {
    if (connection != nullptr) lose(std::move(connection));
    throw;
  }
}

void Server::close() {
  std::vector<std::unique_ptr<Connection>> idle;
  const std::lock_guard lock(mutex_);
  closed_ = true;
  idle.swap(idle_);
}

bool Server::met() {
  const std::lock_guard lock(mutex_);
  return met_;
}

std::unique_ptr<Connection> Server::connect(double patience) {
  const auto began = monotonic_ns();
  auto allowed = lesser(patience, timeout_);
  if (allowed >= 0) allowed = std::max(allowed, shortest_try);
  try {
    auto connection = std::make_unique<Connection>(address, access_, db_, allowed, timeout_);
    const std::lock_guard lock(mutex_);
    met_ = true;
    return connection;
  } catch (const Trouble& trouble) {
    throw Lost{trouble.what(), began, trouble.silent};
  }
}

// Sees to it that nothing more is done of what lost connections had sent.
void Server::forestall(std::unique_ptr<Connection>& connection,
                       const std::vector<Suspect>& suspects) {
  Request kills;
  for (const auto& suspect : suspects) {
    if (suspect.run == connection->run) {
      kills.add({"CLIENT", "KILL", "ID", std::to_string(suspect.id)});
    }
  }
  if (kills.count() == 0) return;
  try {
    connection->exchange(kills);
  } catch (const Trouble& trouble) {
    lose(std::move(connection));
    throw Lost{trouble.what(), monotonic_ns(), trouble.silent};
  }
}

}  // namespace dovetail::redis
