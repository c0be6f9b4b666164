// What a server answers.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "redis_wire.h"

namespace dovetail::redis {

// The texts lie where they were received, and live as long as the replies that they came with.
struct Reply {
  dovetail_redis_kind kind = DOVETAIL_REDIS_NIL;
  long long integer = 0;
  std::string_view text;
  std::vector<Reply> list;

  bool is_nothing() const { return kind == DOVETAIL_REDIS_NIL; }
  bool is_text() const { return kind == DOVETAIL_REDIS_TEXT; }
  bool is_list() const { return kind == DOVETAIL_REDIS_LIST; }
  bool is_refusal() const { return kind == DOVETAIL_REDIS_REFUSAL; }
  // "MOVED", of a refusal that says "MOVED 3999 127.0.0.1:6381".
  std::string_view code() const { return text.substr(0, text.find(' ')); }
};

struct Replies {
  std::vector<Reply> list;
  std::vector<std::shared_ptr<void>> owners;
  bool again = false;  // the commands were sent more than once: they may have found their work done

  const Reply& only() const { return list.front(); }
};

// The first refusal, those inside transactions included; nothing if there is none.
inline const Reply* first_refusal(const std::vector<Reply>& replies) {
  for (const auto& reply : replies) {
    if (reply.is_refusal()) return &reply;
    if (const auto* const inner = first_refusal(reply.list)) return inner;
  }
  return nullptr;
}

}  // namespace dovetail::redis
