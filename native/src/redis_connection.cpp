#include "redis_connection.hpp"

#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "clock.hpp"
#include "error.hpp"
#include "redis_library.hpp"

namespace dovetail::redis {
namespace {

constexpr std::size_t received_at_once = 1 << 17;
constexpr std::size_t shown_bytes = 60;
constexpr std::uint64_t longest_greeting = 1 << 20;
constexpr std::size_t parts_at_once = 64;

bool contains(std::string_view text, std::string_view part) {
  return text.find(part) != std::string_view::npos;
}

std::string uncapitalized(std::string text) {
  if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') text[0] = static_cast<char>(text[0] + 32);
  return text;
}

// Bytes as an error may show them.
std::string readable(const std::string& bytes) {
  std::string text = "'";
  for (const char c : bytes.substr(0, shown_bytes)) {
    const auto code = static_cast<unsigned char>(c);
    if (code >= 0x20 && code < 0x7F) {
      text += c;
    } else {
      char escape[5];
      std::snprintf(escape, sizeof escape, "\\x%02x", code);
      text += escape;
    }
  }
  return text + "'";
}

[[noreturn]] void throw_unconnected(const Address& address, int error, const std::string& how) {
  if (error == 0) {
    throw Error(Status::unavailable, "there is no host '" + address.host +
                                         "' that this machine knows (" + how +
                                         "): correct the URL");
  }
  if (error == EACCES || error == EPERM) {
    throw Error(Status::access, "this user may not use " + address.text() + ": " +
                                    uncapitalized(how) + ". Ask the owner of the server");
  }
  if (error == EAGAIN && address.socket.empty()) {
    throw Trouble("no answer yet to the question where " + address.host + " is");
  }
  throw Trouble(uncapitalized(how), error == ETIMEDOUT);
}

}  // namespace

Connection::Connection(const Address& to, const Access& access, int db, double timeout,
                       double silence)
    : address(to), wire_(wire()), silence_(silence) {
  int error = 0;
  char how[200] = "";
  handle_ = wire_.connect(address.host.c_str(), address.port,
                          address.socket.empty() ? nullptr : address.socket.c_str(), timeout,
                          &error, how, sizeof how);
  if (handle_ == nullptr) throw_unconnected(address, error, how);
  fd_ = wire_.descriptor(handle_);
  fcntl(fd_, F_SETFD, FD_CLOEXEC);
  try {
    greet(access, db, timeout);
  } catch (...) {
    wire_.close(handle_);
    throw;
  }
}

Connection::~Connection() { wire_.close(handle_); }

Replies Connection::exchange(const Request& request) {
  send(request);
  Replies replies;
  replies.list.reserve(request.count());
  for (std::size_t i = 0; i < request.count(); ++i) {
    auto reply = receive(replies, silence_);
    if (!reply) throw Trouble("it kept silent", true);
    replies.list.push_back(std::move(*reply));
  }
  return replies;
}

void Connection::send(const Request& request) {
  auto parts = request.parts();
  for (std::size_t at = 0; at < parts.size();) {
    msghdr message{};
    message.msg_iov = &parts[at];
    message.msg_iovlen = std::min(parts.size() - at, parts_at_once);
    const auto sent = sendmsg(fd_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0) {
      if (errno == EINTR) continue;
      if (errno != EAGAIN && errno != EWOULDBLOCK) {
        throw Trouble(uncapitalized(std::strerror(errno)));
      }
      if (!wait_for(POLLOUT, silence_)) throw Trouble("it takes nothing", true);
      continue;
    }
    auto left = static_cast<std::size_t>(sent);
    for (; at < parts.size() && left >= parts[at].iov_len; ++at) left -= parts[at].iov_len;
    if (at < parts.size()) {
      parts[at].iov_base = static_cast<char*>(parts[at].iov_base) + left;
      parts[at].iov_len -= left;
    }
  }
}

std::optional<Reply> Connection::receive(Replies& into, double seconds) {
  thread_local std::vector<char> room(received_at_once);
  for (;;) {
    void* made = nullptr;
    const int found = wire_.next(handle_, &made);
    if (found < 0) {
      throw Trouble("it answered " + readable(first_) + ", which is not the protocol of Redis");
    }
    if (found > 0) {
      into.owners.emplace_back(made, wire_.release);
      return taken(made);
    }
    if (!greeted_ && received_ > longest_greeting) throw Trouble("it says too much");
    if (!wait_for(POLLIN, seconds)) return std::nullopt;
    const auto count = recv(fd_, room.data(), room.size(), MSG_DONTWAIT);
    if (count == 0) throw Trouble("it closed the connection");
    if (count < 0) {
      if (errno == EINTR || errno == EAGAIN || errno == EWOULDBLOCK) continue;
      throw Trouble(uncapitalized(std::strerror(errno)));
    }
    received_ += static_cast<std::uint64_t>(count);
    if (first_.size() < shown_bytes) {
      first_.append(room.data(), std::min(static_cast<std::size_t>(count), shown_bytes));
    }
    if (wire_.feed(handle_, room.data(), static_cast<std::size_t>(count)) == 0) {
      throw std::bad_alloc();
    }
  }
}

Reply Connection::taken(const void* made) const {
  Reply reply;
  reply.kind = static_cast<dovetail_redis_kind>(wire_.kind(made));
  if (reply.kind == DOVETAIL_REDIS_INTEGER) {
    reply.integer = wire_.integer(made);
  } else if (reply.kind == DOVETAIL_REDIS_LIST) {
    const auto count = wire_.count(made);
    reply.list.reserve(count);
    for (std::size_t i = 0; i < count; ++i) reply.list.push_back(taken(wire_.element(made, i)));
  } else if (reply.kind != DOVETAIL_REDIS_NIL) {
    std::size_t length = 0;
    const char* const text = wire_.text(made, &length);
    reply.text = {text, length};
  }
  return reply;
}

bool Connection::wait_for(short events, double seconds) {
  const Deadline deadline(seconds);
  for (;;) {
    pollfd watched{fd_, events, 0};
    const auto left = deadline.remaining_ns();
    const auto rounded = left / 1'000'000 + (left % 1'000'000 != 0 ? 1 : 0);
    const int milliseconds =
        seconds < 0 ? -1 : static_cast<int>(std::min<std::int64_t>(rounded, INT_MAX));
    const int found = poll(&watched, 1, milliseconds);
    if (found > 0) return true;
    if (found < 0 && errno != EINTR) throw Trouble(uncapitalized(std::strerror(errno)));
    if (deadline.passed()) return false;
  }
}

void Connection::greet(const Access& access, int db, double timeout) {
  Request request;
  if (access.password.empty()) {
    request.add({"HELLO", "2"});
  } else {
    const std::string user = access.user.empty() ? "default" : access.user;
    request.add({"HELLO", "2", "AUTH", user, access.password});
  }
  request.add({"CLIENT", "SETNAME", "dovetail"}).add({"INFO", "server"});
  const auto number = std::to_string(db);
  if (db != 0) request.add({"SELECT", number});
  Replies said;
  const Deadline deadline(timeout);
  try {
    send(request);
    for (std::size_t i = 0; i < request.count(); ++i) {
      const auto left = static_cast<double>(deadline.remaining_ns()) * 1e-9;
      auto reply = receive(said, timeout < 0 ? timeout : left);
      if (!reply) throw Trouble("it kept silent", true);
      said.list.push_back(std::move(*reply));
      if (said.list[0].is_refusal()) break;
    }
  } catch (const Trouble& trouble) {
    if (contains(trouble.what(), "not the protocol") || received_ > longest_greeting) {
      throw Error(Status::unavailable,
                  first_[0] == '\x15'
                      ? "the server at " + address.text() +
                            " wants TLS, which is not spoken from C, C++ and Fortran"
                      : "what listens at " + address.text() +
                            " is no Redis or Valkey server: it answered " + readable(first_) +
                            ". Correct the port");
    }
    if (received_ == 0 && !trouble.silent) {
      throw Trouble("it closed the connection without an answer (does it want TLS?)");
    }
    throw;
  }
  greeted_ = true;
  const auto& greeting = said.list[0];
  if (greeting.is_refusal()) turned_away(greeting, !access.password.empty());
  if (db != 0 && said.list[3].is_refusal()) {
    throw Error(Status::unavailable, "the server at " + address.text() + " has no database " +
                                         number + ": " + std::string(said.list[3].text));
  }
  for (std::size_t i = 0; i + 1 < greeting.list.size(); i += 2) {
    const auto& value = greeting.list[i + 1];
    const auto name = greeting.list[i].text;
    if (name == "id") id = value.integer;
    if (name == "mode") mode = value.text;
    if (name == "role") role = value.text;
    if (name == "version") version = value.text;
  }
  std::sscanf(version.c_str(), "%d.%d", &major, &minor);
  if (major < 6 || (major == 6 && minor < 2)) {
    throw Error(Status::unavailable, "the server at " + address.text() + " has version " + version +
                                         "; 6.2 or newer is needed");
  }
  run = said.list[2].is_text() ? fact_in(said.list[2].text, "run_id") : "";
}

void Connection::turned_away(const Reply& refusal, bool with_password) {
  const auto code = refusal.code();
  const std::string text(refusal.text.substr(0, 200));
  if (code == "WRONGPASS" || code == "NOAUTH" || code == "NOPERM") {
    throw Error(Status::access, "the server at " + address.text() + " let us not in: " +
                                    (with_password ? "the user or the password is wrong"
                                                   : "it wants a password: give user:password@ in "
                                                     "the URL, password_file= or password_env="));
  }
  if (code == "LOADING" || code == "BUSY" || code == "MASTERDOWN") throw Trouble(text);
  if (contains(text, "max number of clients")) throw Trouble(text + "; raise its maxclients");
  if (code == "NOPROTO" || contains(text, "unknown command")) {
    throw Error(Status::unavailable,
                "the server at " + address.text() +
                    " is too old: Redis or Valkey of version 6.2 or newer is needed (it says: " +
                    text + ")");
  }
  throw Error(Status::unavailable, "the server at " + address.text() + " let us not in: " + text);
}

std::string fact_in(std::string_view info, const std::string& name) {
  const auto line = "\n" + name + ":";
  const auto at = info.find(line);
  if (at == std::string_view::npos) return "";
  const auto begin = at + line.size();
  const auto end = std::min(info.find_first_of("\r\n", begin), info.size());
  return std::string(info.substr(begin, end - begin));
}

}  // namespace dovetail::redis
