#include "redis_lists.hpp"

#include <algorithm>

#include "posix.hpp"
#include "redis_scripts.hpp"
#include "redis_watching.hpp"

namespace dovetail::redis {
namespace {

constexpr double hour = 3600, week = 7 * 24 * hour;
constexpr std::size_t items_at_once = 5000;

std::string seconds_of_receipt(double timeout) {
  const auto seconds = timeout < 0 ? week : std::min(std::max(hour, 2 * timeout), week);
  return std::to_string(static_cast<std::int64_t>(seconds));
}

std::string id_of(std::uint64_t position) { return std::to_string(position) + "-0"; }

// The items that entries of a stream hold: each is an id and its fields.
void take_items(const Reply& entries, std::vector<std::string>& items) {
  for (const auto& entry : entries.list) {
    const bool sound = entry.list.size() == 2 && entry.list[1].list.size() >= 2;
    if (sound) items.emplace_back(entry.list[1].list[1].text);
  }
}

}  // namespace

Lists::Lists(Questions& questions, double timeout)
    : questions_(questions), timeout_(timeout), receipt_seconds_(seconds_of_receipt(timeout)) {}

std::uint64_t Lists::append(const std::string& list, const std::string& item) {
  auto sender = take_sender();
  ++sender.number;
  const auto name = questions_.names.items(list);
  const auto replies = questions_.ask(
      list, name,
      Request{"EVAL", scripts::append, "2", name, questions_.names.receipt(list, sender.name), item,
              std::to_string(sender.number), receipt_seconds_},
      item.size());
  const std::lock_guard lock(mutex_);
  senders_.push_back(std::move(sender));  // one that fails is not used again
  return static_cast<std::uint64_t>(replies.only().integer);
}

Lists::Sender Lists::take_sender() {
  const std::lock_guard lock(mutex_);
  if (senders_.empty()) return {random_name(), 0};
  auto sender = std::move(senders_.back());
  senders_.pop_back();
  return sender;
}

std::vector<std::string> Lists::items(const std::string& list, std::uint64_t start) {
  const auto name = questions_.names.items(list);
  std::vector<std::string> found;
  for (;;) {
    const auto first = id_of(start + found.size() + 1);
    const auto replies = questions_.ask(
        list, name, Request{"XRANGE", name, first, "+", "COUNT", std::to_string(items_at_once)});
    take_items(replies.only(), found);
    if (replies.only().list.size() < items_at_once) return found;
  }
}

void Lists::remove(const std::string& list) {
  const auto name = questions_.names.items(list);
  questions_.ask(list, name, Request{"UNLINK", name});
}

std::vector<std::string> Lists::wait(const std::string& list, std::uint64_t start, double seconds) {
  if (seconds > 0) {
    if (auto came = come(questions_.names.items(list), start, seconds)) return *came;
  }
  return items(list, start);
}

std::optional<std::vector<std::string>> Lists::come(const std::string& name, std::uint64_t start,
                                                    double seconds) {
  if (timeout_ >= 0) seconds = std::min(seconds, timeout_ / 2);  // then the server has answered
  const auto milliseconds = std::max<std::int64_t>(1, static_cast<std::int64_t>(seconds * 1000));
  auto& server = questions_.route->server_of(name);
  try {
    const auto replies =
        server.exchange(Request{"XREAD", "COUNT", std::to_string(items_at_once), "BLOCK",
                                std::to_string(milliseconds), "STREAMS", name, id_of(start)},
                        seconds_to_ask);
    const auto& reply = replies.only();
    if (!reply.is_refusal()) {
      std::vector<std::string> came;
      if (!reply.is_list() || reply.list.empty() || reply.list[0].list.size() != 2) return came;
      const auto& entries = reply.list[0].list[1];
      if (entries.list.size() >= items_at_once) return std::nullopt;
      take_items(entries, came);
      return came;
    }
  } catch (const Lost&) {
  }
  rest(std::min(seconds, pause_after_loss));  // whoever looks now learns of it, and has a deadline
  return std::nullopt;
}

}  // namespace dovetail::redis
