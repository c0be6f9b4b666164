// Connections and replies by hiredis. Only this file knows it.
#include <hiredis/hiredis.h>
#include <netdb.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>

#include "redis_wire.h"
#include "version.hpp"

namespace {

redisContext* context_of(void* connection) { return static_cast<redisContext*>(connection); }
const redisReply* reply_of(const void* reply) { return static_cast<const redisReply*>(reply); }

redisContext* connected(const char* host, int port, const char* socket, double timeout) {
  if (timeout < 0) return socket != nullptr ? redisConnectUnix(socket) : redisConnect(host, port);
  timeval span{};
  span.tv_sec = static_cast<time_t>(std::floor(timeout));
  span.tv_usec = static_cast<suseconds_t>((timeout - std::floor(timeout)) * 1e6);
  return socket != nullptr ? redisConnectUnixWithTimeout(socket, span)
                           : redisConnectWithTimeout(host, port, span);
}

void* connect_to(const char* host, int port, const char* socket, double timeout, int* error,
                 char* how, size_t room) {
  errno = 0;
  auto* const context = connected(host, port, socket, timeout);
  const int number = errno;
  if (context == nullptr) {
    *error = ENOMEM;
    std::snprintf(how, room, "%s", std::strerror(ENOMEM));
    return nullptr;
  }
  if (context->err == 0) {
    if (socket == nullptr) redisEnableKeepAlive(context);
    return context;
  }
  if (context->err == REDIS_ERR_IO) {
    *error = number != 0 ? number : EIO;
  } else {
    *error = std::strcmp(context->errstr, gai_strerror(EAI_AGAIN)) == 0 ? EAGAIN : 0;
  }
  std::snprintf(how, room, "%s", context->errstr);
  redisFree(context);
  return nullptr;
}

int descriptor_of(void* connection) { return context_of(connection)->fd; }
void close_connection(void* connection) { redisFree(context_of(connection)); }

int feed(void* connection, const char* bytes, size_t count) {
  return redisReaderFeed(context_of(connection)->reader, bytes, count) == REDIS_OK ? 1 : 0;
}

int next_reply(void* connection, void** reply) {
  *reply = nullptr;
  if (redisReaderGetReply(context_of(connection)->reader, reply) != REDIS_OK) return -1;
  return *reply != nullptr ? 1 : 0;
}

int kind_of(const void* reply) {
  switch (reply_of(reply)->type) {
    case REDIS_REPLY_INTEGER:
      return DOVETAIL_REDIS_INTEGER;
    case REDIS_REPLY_STRING:
    case REDIS_REPLY_STATUS:
      return DOVETAIL_REDIS_TEXT;
    case REDIS_REPLY_ERROR:
      return DOVETAIL_REDIS_REFUSAL;
    case REDIS_REPLY_ARRAY:
      return DOVETAIL_REDIS_LIST;
    default:
      return DOVETAIL_REDIS_NIL;
  }
}

long long integer_of(const void* reply) { return reply_of(reply)->integer; }
const char* text_of(const void* reply, size_t* length) {
  *length = reply_of(reply)->len;
  return reply_of(reply)->str;
}
size_t count_of(const void* reply) { return reply_of(reply)->elements; }
const void* element_of(const void* reply, size_t index) { return reply_of(reply)->element[index]; }

constexpr dovetail_redis_wire wire = {
    dovetail::version_string, connect_to, descriptor_of, close_connection, feed,     next_reply,
    freeReplyObject,          kind_of,    integer_of,    text_of,          count_of, element_of};

}  // namespace

extern "C" __attribute__((visibility("default"))) const dovetail_redis_wire*
dovetail_redis_wire_functions() {
  return &wire;
}
