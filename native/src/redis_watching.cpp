#include "redis_watching.hpp"

#include <algorithm>

#include "error.hpp"

namespace dovetail::redis {
namespace {

// Refusals that whoever looks meets, too, and waits for.
bool is_passing(std::string_view code) {
  return code == "MOVED" || code == "ASK" || code == "CLUSTERDOWN" || code == "LOADING";
}

bool says(const Reply& message, std::string_view what) {
  return message.is_list() && !message.list.empty() && message.list[0].text == what;
}

}  // namespace

KeyWatch::KeyWatch(Questions& questions, const std::string& key)
    : questions_(questions),
      key_(key),
      value_(questions.names.value(key)),
      channel_(questions.names.news(key)),
      prefix_(questions.route->sharded_news ? "s" : "") {
  listen();
}

// The connection goes back without a subscription: until it has none it takes no other commands.
KeyWatch::~KeyWatch() {
  if (connection_ == nullptr) return;
  try {
    connection_->send(Request{prefix_ + "unsubscribe", channel_});
    Replies said;
    for (;;) {
      const auto message = connection_->receive(said, seconds_to_ask);
      if (!message) return;
      if (says(*message, prefix_ + "unsubscribe")) break;
    }
    server_->give(std::move(connection_));
  } catch (const std::exception&) {  // it ends with this object
  }
}

void KeyWatch::listen() {
  server_ = &questions_.route->server_of(value_);
  try {
    connection_ = server_->take(seconds_to_ask);
  } catch (const Lost&) {
    return;
  }
  try {
    connection_->send(Request{prefix_ + "subscribe", channel_});
    Replies said;
    const auto answer = connection_->receive(said, seconds_to_ask);
    if (answer && says(*answer, prefix_ + "subscribe")) return;
    connection_.reset();
    if (answer && answer->is_refusal() && !is_passing(answer->code())) {
      questions_.throw_refused(*answer, "to be told of news of " + questions_.named(key_));
    }
  } catch (const Trouble&) {
    drop();
  }
}

void KeyWatch::wait(double seconds) {
  if (connection_ == nullptr) {
    rest(std::min(seconds, pause_after_loss));
    listen();
    return;
  }
  try {
    Replies said;
    auto message = connection_->receive(said, seconds);
    while (message) {
      // Whoever looks now learns where its slot has gone; the next wait listens there.
      if (!says(*message, prefix_ + "message")) return drop();
      message = connection_->receive(said, 0);
    }
  } catch (const Trouble&) {
    drop();
  }
}

// Nothing is under way on it that could still be done.
void KeyWatch::drop() { connection_.reset(); }

}  // namespace dovetail::redis
