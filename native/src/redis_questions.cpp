#include "redis_questions.hpp"

#include <cerrno>
#include <cstdlib>

#include "error.hpp"
#include "posix.hpp"

namespace dovetail::redis {
namespace {

constexpr std::size_t longest_shown = 200, longest_said = 300;

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::uint64_t number_in(std::string_view info, const std::string& name) {
  return std::strtoull(fact_in(info, name).c_str(), nullptr, 10);
}

}  // namespace

Replies Questions::ask(const std::string& key, const std::string& name, const Request& request,
                       std::uint64_t nbytes) {
  auto replies = route->ask(name, request);
  judge(replies, key, nbytes);
  return replies;
}

void Questions::scan(Server& server, const std::string& pattern,
                     const std::function<void(const std::vector<std::string>&)>& visit) {
  std::string cursor = "0";
  do {
    const auto replies =
        route->ask_server(server, Request{"SCAN", cursor, "MATCH", pattern, "COUNT", "1000"});
    judge(replies, "", 0);
    const auto& page = replies.only().list;
    if (page.size() != 2) return;
    cursor = page[0].text;
    std::vector<std::string> names;
    for (const auto& name : page[1].list) names.emplace_back(name.text);
    visit(names);
  } while (cursor != "0");
}

Questions::Memory Questions::memory() {
  Memory memory;
  for (auto* const server : route->each()) {
    const auto replies = route->ask_server(*server, Request{"INFO", "memory"});
    judge(replies, "", 0);
    const auto info = replies.only().text;
    memory.used += number_in(info, "used_memory");
    const auto limit = number_in(info, "maxmemory");
    memory.most += limit != 0 ? limit : number_in(info, "total_system_memory");
  }
  return memory;
}

std::string Questions::named(const std::string& key) const {
  return key.empty() ? "what was asked of " + label
                     : "the value of '" + key.substr(0, longest_shown) + "' in " + label;
}

void Questions::judge(const Replies& replies, const std::string& key, std::uint64_t nbytes) {
  const auto* const refusal = first_refusal(replies.list);
  if (refusal == nullptr) return;
  if (refusal->code() == "OOM" || contains(refusal->text, "used memory > 'maxmemory'")) {
    const auto held = memory();
    throw Error(Status::full,
                "no room for a value of " + readable_bytes(nbytes) + " in " + label +
                    ": the server holds " + readable_bytes(held.used) + " of " +
                    readable_bytes(held.most) +
                    " (its maxmemory). Nothing stored was lost. Delete values, or give the server "
                    "more memory",
                ENOSPC);
  }
  if (refusal->code() == "LATE") {
    throw Error(Status::timeout,
                named(key) +
                    " took so long to send that its first parts had expired; nothing was "
                    "published. The link is too slow for it");
  }
  throw_refused(*refusal, named(key));
}

void Questions::throw_refused(const Reply& refusal, const std::string& what) const {
  const std::string said(refusal.text.substr(0, longest_said));
  if (contains(refusal.text, "WRONGTYPE")) {  // that of a script comes with more words in front
    throw Error(Status::corrupt,
                what +
                    " was written by something else: under its name the server keeps no string "
                    "or list of ours. Remove it, or use another store");
  }
  if (refusal.code() == "NOPERM" || refusal.code() == "NOAUTH") {
    throw Error(Status::access, label + ": the server does not allow it: " + said +
                                    ". Ask for the permission, or use another user");
  }
  if (contains(refusal.text, "MISCONF")) {
    throw Error(Status::full,
                label + ": the server takes no values because it cannot save them: " + said,
                ENOSPC);
  }
  throw Error(Status::unavailable, label + ": the server refused " + what + ": " + said);
}

}  // namespace dovetail::redis
