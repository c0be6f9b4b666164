#include "redis_routes.hpp"

#include <time.h>

#include <algorithm>
#include <random>

#include "clock.hpp"
#include "error.hpp"
#include "posix.hpp"

namespace dovetail::redis {
namespace {

constexpr double first_pause = 0.01, longest_pause = 0.5;

// Between a half and one, so that those who lost a server together do not come back together.
double some_of_one() {
  thread_local std::minstd_rand chance(std::random_device{}());
  return std::uniform_real_distribution<>(0.5, 1.0)(chance);
}

}  // namespace

void rest(double seconds) {
  const auto whole = static_cast<time_t>(seconds);
  const timespec span{whole, static_cast<long>((seconds - static_cast<double>(whole)) * 1e9)};
  nanosleep(&span, nullptr);
}

double Patience::left() const {
  if (!tried_ || timeout_ < 0) return -1;
  return std::max(0.0, static_cast<double>(end_ - monotonic_ns()) * 1e-9);
}

bool Patience::used_up(std::int64_t since) {
  if (!tried_) {
    // The first time at once: an idle connection may have been cut long ago.
    tried_ = true;
    end_ = (since != 0 ? since : monotonic_ns()) + static_cast<std::int64_t>(timeout_ * 1e9);
    return left() == 0;
  }
  const auto remains = left();
  if (remains == 0) return true;
  pause_ = std::min(std::max(2 * pause_, first_pause), longest_pause);
  const auto span = pause_ * some_of_one();
  rest(remains < 0 ? span : std::min(span, remains));
  return false;
}

std::string Patience::text() const {
  return timeout_ < 0 ? "for ever" : "within " + readable_seconds(timeout_);
}

Replies Route::ask_server(Server& server, const Request& request) const {
  Patience patience(timeout_);
  for (;;) {
    try {
      auto replies = server.exchange(request, patience.left());
      const auto* const refusal = passing_refusal(replies);
      if (refusal == nullptr) {
        replies.again = patience.tried();
        return replies;
      }
      if (patience.used_up()) throw_still(server, *refusal, patience);
    } catch (const Lost& lost) {
      if (patience.used_up(lost.since)) throw_gone(server, lost, patience);
    }
  }
}

Alone::Alone(const Place& place, double timeout)
    : Route(timeout), server_(place.addresses[0], place.access, place.db, timeout) {}

Replies Alone::ask(std::string_view, const Request& request) {
  return ask_server(server_, request);
}

const Reply* refusal_with(const Replies& replies, const std::vector<std::string_view>& codes) {
  const auto has = [&](const Reply& reply) {
    return reply.is_refusal() && std::find(codes.begin(), codes.end(), reply.code()) != codes.end();
  };
  for (const auto& reply : replies.list) {
    if (has(reply)) return &reply;
    for (const auto& inner : reply.list) {
      if (has(inner)) return &inner;
    }
  }
  return nullptr;
}

const Reply* passing_refusal(const Replies& replies) {
  static const auto& codes = *new std::vector<std::string_view>{
      "LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "READONLY", "UNBLOCKED"};
  return refusal_with(replies, codes);
}

void throw_gone(Server& server, const Lost& how, const Patience& patience) {
  const auto where = server.address.text();
  if (server.met() && how.silent) {
    throw Error(Status::timeout, "the server at " + where + " kept silent " + patience.text() +
                                     ": is it overloaded or stopped? Allow more time");
  }
  if (!server.met()) {
    throw Error(Status::timeout, "no server could be reached at " + where + " " + patience.text() +
                                     ": " + how.how + ". Start it, or correct the URL");
  }
  throw Error(Status::peer_lost, "the server at " + where + " was lost, and did not come back " +
                                     patience.text() + ": " + how.how +
                                     ". Look at its log, and start it again");
}

void throw_still(const Server& server, const Reply& refusal, const Patience& patience) {
  throw Error(Status::timeout, "the server at " + server.address.text() + " could not do it " +
                                   patience.text() + ": " +
                                   std::string(refusal.text.substr(0, 300)));
}

}  // namespace dovetail::redis
