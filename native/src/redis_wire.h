/* What libdovetail asks of libdovetail_redis.so, the part that stands on hiredis: it is built where
 * hiredis is found, and loaded when a store on a server is opened. Of no use to anybody else. */
#ifndef DOVETAIL_REDIS_WIRE_H
#define DOVETAIL_REDIS_WIRE_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dovetail_redis_kind {
  DOVETAIL_REDIS_NIL,
  DOVETAIL_REDIS_INTEGER,
  DOVETAIL_REDIS_TEXT,
  DOVETAIL_REDIS_REFUSAL,
  DOVETAIL_REDIS_LIST
} dovetail_redis_kind;

typedef struct dovetail_redis_wire {
  const char* built_for; /* the version of dovetail: that of the library that loads it */

  /* To a host and a port, or to a socket if that is not NULL, within so many seconds (below 0: for
   * ever). NULL on failure: then `error` is an errno, or 0 for a host that nobody knows, and `how`
   * says it in words. */
  void* (*connect)(const char* host, int port, const char* socket, double timeout, int* error,
                   char* how, size_t room);
  int (*descriptor)(void* connection);
  void (*close)(void* connection);

  /* What was received. 0 if there is no memory. */
  int (*feed)(void* connection, const char* bytes, size_t count);
  /* 1: a reply, to be released; 0: more must be received first; -1: this is not the protocol. */
  int (*next)(void* connection, void** reply);
  void (*release)(void* reply);
  int (*kind)(const void* reply); /* a dovetail_redis_kind */
  long long (*integer)(const void* reply);
  const char* (*text)(const void* reply, size_t* length);
  size_t (*count)(const void* reply);
  const void* (*element)(const void* reply, size_t index);
} dovetail_redis_wire;

/* The only name that it exports: a function that gives these. */
typedef const dovetail_redis_wire* (*dovetail_redis_wire_function)(void);
#define DOVETAIL_REDIS_WIRE_NAME "dovetail_redis_wire_functions"

#ifdef __cplusplus
}
#endif

#endif
