/* Dovetail for C: stores and streams in shared memory and in folders, and stores on servers.
 *
 *   #include <dovetail/dovetail.h>         cc solver.c $(pkg-config --cflags --libs dovetail)
 *
 * URLs are those of Python: "shm://name?capacity=2GiB", "file:///folder"; for stores also
 * "redis://host:port/name", "redis+unix:///socket", "redis+cluster://host,host/name", if hiredis
 * was there when this library was built. A bare name such as "fields" is looked up in the
 * environment, as DOVETAIL_STREAM_FIELDS or DOVETAIL_STORE_FIELDS. Other engines give
 * DVT_UNAVAILABLE.
 *
 * Every call that can fail returns a dvt_status: 0 or DVT_END is success, and what is negative is
 * an error. Results come through the last arguments, which are untouched on failure. Nothing here
 * ever ends the process, raises a signal or throws. Text is UTF-8 and ends with NUL; text handed
 * out lives as long as its handle. A handle that is NULL, closed, or of another kind is refused
 * with DVT_CLOSED or DVT_ARGUMENT; so is every other NULL where something is needed. Closing NULL
 * is harmless.
 *
 * Threads: a store, a value, a reservation and dvt_last_error may be used from any thread at any
 * time. Calls on one writer, reader, step or tail take turns. Handles do not survive fork(): a
 * child opens its own. A handle that is never closed is seen by others as a process that died.
 *
 * Times are in seconds. A deadline below 0 is none (DVT_FOR_EVER), 0 looks once.
 */
#ifndef DOVETAIL_H
#define DOVETAIL_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define DVT_API __attribute__((visibility("default")))
#else
#define DVT_API
#endif

typedef enum dvt_status {
  DVT_OK = 0,
  DVT_END = 1,              /* the stream has ended, cleanly; no step was given */
  DVT_ARGUMENT = -1,        /* a NULL, a number out of range, a handle of another kind */
  DVT_INVALID_URL = -2,     /* an unknown scheme or option, or a name that stands for nothing */
  DVT_INVALID_KEY = -3,     /* a key that is not UTF-8 */
  DVT_UNSUPPORTED = -4,     /* an array, a name or attributes that the format cannot hold */
  DVT_COVERAGE = -5,        /* blocks of a global array leave a gap, overlap, or do not fit */
  DVT_CAPABILITY = -6,      /* the engine cannot keep what was asked of it */
  DVT_UNAVAILABLE = -7,     /* not reached from here: the sentence says what is */
  DVT_ACCESS = -8,          /* a server did not let us in */
  DVT_ABSENT = -9,          /* nothing under this key, or no array of this name */
  DVT_FULL = -10,           /* no room; nothing stored was lost */
  DVT_CORRUPT = -11,        /* bytes that are not a sound value */
  DVT_FORMAT_VERSION = -12, /* laid out by a version that this one cannot read */
  DVT_TIMEOUT = -13,        /* the deadline passed; the call may be made again */
  DVT_CLOSED = -14,         /* used after it was closed by this side */
  DVT_STOPPED = -15,        /* a reader called stop: end the work */
  DVT_LOST = -16,           /* the other side died, or left by failure */
  DVT_EXPELLED = -17,       /* this reader held the producer up for too long */
  DVT_BUSY = -18,           /* the stream has a writer, or unread steps */
  DVT_SYSTEM = -19,         /* the system refused: see dvt_last_errno */
  DVT_INTERNAL = -20,       /* a defect of this library */
  DVT_MODEL_FAILED = -21,   /* a model could not be compiled or run: see model.h */
  DVT_PYTHON_FAILED = -22   /* a function of Python raised, or is not there: see python.h */
} dvt_status;

DVT_API const char* dvt_version(void);
DVT_API const char* dvt_last_error(void); /* what went wrong last in this thread, as a sentence */
DVT_API int dvt_last_errno(void);         /* the system's number for it, or 0 */
DVT_API const char* dvt_status_name(int status); /* "timeout" */

/* --- arrays ----------------------------------------------------------------------------------- */

typedef enum dvt_dtype {
  DVT_BOOL = 1,
  DVT_INT8,
  DVT_INT16,
  DVT_INT32,
  DVT_INT64,
  DVT_UINT8,
  DVT_UINT16,
  DVT_UINT32,
  DVT_UINT64,
  DVT_FLOAT16,
  DVT_BFLOAT16,
  DVT_FLOAT32,
  DVT_FLOAT64,
  DVT_COMPLEX64,
  DVT_COMPLEX128
} dvt_dtype;

typedef enum dvt_order { DVT_ROW_MAJOR = 0, DVT_COLUMN_MAJOR = 1 } dvt_order;

#define DVT_MOST_AXES 64

/* An array, described. Extents and starts are 0-based and in logical order in every language: a
 * Fortran array u(nx, ny) has shape {nx, ny} and DVT_COLUMN_MAJOR. It is stored as it lies, never
 * transposed; what has gaps or negative strides is copied once. Set all that is not named to 0:
 *   dvt_array u = {.name = "u", .data = u0, .dtype = DVT_FLOAT64, .rank = 2, .shape = extents}; */
typedef struct dvt_array {
  const char* name;            /* NULL for "value", the name of a bare array */
  void* data;                  /* the first element; only read by put, only written by read */
  int32_t dtype;               /* a dvt_dtype */
  int32_t rank;                /* 0 for a number */
  const int64_t* shape;        /* `rank` extents */
  const int64_t* strides;      /* bytes from one element to the next, along each axis; NULL: none
                                  between them, in `order`. Always given with what is handed out */
  int32_t order;               /* a dvt_order: how the elements lie if `strides` is NULL */
  int32_t reserved;            /* 0 */
  const int64_t* global_shape; /* of a step: this is the block of a global array of such a shape */
  const int64_t* start;        /*   that begins here; both or neither */
} dvt_array;

DVT_API int64_t dvt_item_bytes(int dtype);     /* bytes of one element; 0 for no dtype */
DVT_API const char* dvt_dtype_name(int dtype); /* "float32" */

/* --- stores: keyed values that can be read again ----------------------------------------------
 *
 *   dvt_store_open ─ put, get, wait … ─ dvt_store_close
 *
 * A value is a set of named arrays with attributes: a JSON object as text, or NULL for none. A
 * reader sees the old value or the new one, never a mixture; what is in hand never changes. */

typedef struct dvt_store dvt_store;
typedef struct dvt_value dvt_value;             /* a value in hand: holds a lease on its bytes */
typedef struct dvt_reservation dvt_reservation; /* room for a value, to be filled in place */
typedef struct dvt_texts dvt_texts;             /* a list of texts */

#define DVT_FOR_EVER (-1.0)
#define DVT_VERSION_BYTES 64 /* of a version token, NUL included */

DVT_API int dvt_store_open(const char* url, dvt_store** store); /* within 60 s */
/* A server is reached within `timeout`; and so long it may be silent or gone, in each call. */
DVT_API int dvt_store_open_within(const char* url, double timeout, dvt_store** store);
/* A view in which every key and list name begins with `prefix`. To be closed like any store; of no
 * use once the store that was opened is closed. */
DVT_API int dvt_store_scope(dvt_store* store, const char* prefix, dvt_store** scope);
DVT_API int dvt_store_close(dvt_store* store); /* values in hand stay valid */
DVT_API int dvt_store_url(dvt_store* store, const char** url);
/* The folder of the values; DVT_CAPABILITY where there is none. */
DVT_API int dvt_store_path(dvt_store* store, const char** path);

/* Publishes `count` arrays under a key at once, replacing what was there. `version`, if it is not
 * NULL, takes DVT_VERSION_BYTES: the token of the new value. One copy, into the store. */
DVT_API int dvt_store_put(dvt_store* store, const char* key, const dvt_array* arrays, int count,
                          const char* attrs, char* version);

/* Room for arrays of these names, dtypes and shapes, in row-major or column-major order. */
DVT_API int dvt_store_reserve(dvt_store* store, const char* key, const dvt_array* arrays, int count,
                              const char* attrs, dvt_reservation** reservation);
DVT_API int dvt_reservation_array(dvt_reservation* reservation, const char* name, dvt_array* array);
/* Publishes what was filled in: no copy. The arrays are for reading only from now on, until the
 * reservation is closed. With `written_to`, who still writes there writes to a memory of its own
 * and harms nobody; that costs a mapping. */
DVT_API int dvt_reservation_commit(dvt_reservation* reservation, int written_to, char* version);
DVT_API int dvt_reservation_close(dvt_reservation* reservation); /* not committed: given up */

/* No copy; of what lies on a server, one. */
DVT_API int dvt_store_get(dvt_store* store, const char* key, dvt_value** value);
/* Waits until the key exists, or, with `newer_than`, holds another version than that. */
DVT_API int dvt_store_wait(dvt_store* store, const char* key, double timeout,
                           const char* newer_than, dvt_value** value);
DVT_API int dvt_store_stat(dvt_store* store, const char* key, dvt_value** value); /* no data */

DVT_API int dvt_value_count(dvt_value* value, int* count);
DVT_API int dvt_value_array(dvt_value* value, int index, dvt_array* array);
DVT_API int dvt_value_find(dvt_value* value, const char* name, dvt_array* array);
/* Copies an array of exactly this name, dtype and shape into `into->data`. A NULL name is that of
 * the only array. */
DVT_API int dvt_value_read(dvt_value* value, const dvt_array* into);
DVT_API int dvt_value_attrs(dvt_value* value, const char** json); /* "{}" for none */
DVT_API int dvt_value_version(dvt_value* value, const char** version);
DVT_API int dvt_value_nbytes(dvt_value* value, int64_t* nbytes); /* header included */
DVT_API int dvt_value_time(dvt_value* value, double* seconds);   /* since the epoch */
DVT_API int dvt_value_close(dvt_value* value); /* the arrays of a value end with it */

DVT_API int dvt_store_exists(dvt_store* store, const char* key, int* exists);
DVT_API int dvt_store_delete(dvt_store* store, const char* key);
DVT_API int dvt_store_rename(dvt_store* store, const char* key, const char* new_key);
DVT_API int dvt_store_keys(dvt_store* store, const char* prefix, dvt_texts** keys); /* sorted */

/* Lists: many producers append, each item is kept once, in order of arrival. */
DVT_API int dvt_store_append(dvt_store* store, const char* list, const char* key,
                             int64_t* position);
DVT_API int dvt_store_items(dvt_store* store, const char* list, int64_t start, dvt_texts** items);
DVT_API int dvt_store_wait_items(dvt_store* store, const char* list, int64_t count, int64_t start,
                                 double timeout, dvt_texts** items);
DVT_API int dvt_store_remove_list(dvt_store* store, const char* list);

DVT_API int64_t dvt_texts_count(dvt_texts* texts);                 /* 0 for no handle */
DVT_API const char* dvt_texts_at(dvt_texts* texts, int64_t index); /* NULL outside */
DVT_API int dvt_texts_close(dvt_texts* texts);

typedef struct dvt_store_statistics {
  int64_t puts, gets, bytes_put, bytes_got;        /* by this handle */
  double seconds_put, seconds_got, seconds_waited; /* of this handle */
  int64_t blocks_recycled, bytes_held, capacity;   /* of the store */
} dvt_store_statistics;

DVT_API int dvt_store_get_statistics(dvt_store* store, dvt_store_statistics* statistics);
DVT_API int dvt_store_flush(dvt_store* store);   /* what was put outlives a crash of the machine */
DVT_API int dvt_store_destroy(dvt_store* store); /* removes all that is ours, and closes */

/* --- streams: ordered steps from M writer ranks to N reader ranks ------------------------------
 *
 *   dvt_writer_open ─ begin ─ put, empty … ─ end | abandon ─ begin … ─ dvt_writer_close
 *   dvt_reader_open ─ next ─ view, read … ─ next ─ … ─ DVT_END ─ dvt_reader_close */

typedef struct dvt_writer dvt_writer;
typedef struct dvt_reader dvt_reader;
typedef struct dvt_step dvt_step;   /* a complete step in hand: holds a lease on its blocks */
typedef struct dvt_lease dvt_lease; /* keeps memory readable */
typedef struct dvt_tail dvt_tail;   /* follows a stream without taking part */

/* What the producer does when its readers are slower than itself. */
typedef enum dvt_policy {
  DVT_LOCKSTEP = 0,  /* ending a step waits until every reader has ended it too */
  DVT_BUFFERED = 1,  /* holds up to `window` steps, then waits */
  DVT_LATEST = 2,    /* drops the oldest undelivered step, never waits */
  DVT_WORK_QUEUE = 3 /* deals each step to one reader group; holds up to `window` */
} dvt_policy;

/* Who takes part in one end of a stream: one rank of `size`, or all ranks of an MPI communicator,
 * which must have been initialised by the caller. NULL for a rank of its own. */
typedef enum dvt_comm_kind { DVT_NO_COMM = 0, DVT_COMM_C = 1, DVT_COMM_FORTRAN = 2 } dvt_comm_kind;
typedef struct dvt_ranks {
  int32_t rank, size; /* where there is no communicator */
  int32_t comm_kind;  /* `comm` is the address of an MPI_Comm, or of a Fortran INTEGER handle */
  int32_t reserved;   /* 0 */
  const void* comm;
} dvt_ranks;

/* Opens the producing end. Rank 0's policy counts. `window` is 1 to 4096 (2 is a good one).
 * `timeout` is the deadline of every wait for the other side: a reader that holds the producer up
 * for longer is expelled. `readers`: how many reader groups must have joined before this returns;
 * with 0 the producer begins at once. */
DVT_API int dvt_writer_open(const char* url, int policy, int window, const dvt_ranks* ranks,
                            double timeout, int readers, dvt_writer** writer);
DVT_API int dvt_writer_begin(dvt_writer* writer, const char* attrs, int64_t* index);
DVT_API int dvt_writer_put(dvt_writer* writer,
                           const dvt_array* array); /* one copy, into the step */
/* Room inside the step: sets array->data, dense, in array->order. Good until the step ends, or
 * for reading only for as long as `lease` (which may be NULL) is kept. */
DVT_API int dvt_writer_empty(dvt_writer* writer, dvt_array* array, dvt_lease** lease);
/* Publishes the step once every rank has ended it. `written_to` as for a reservation. */
DVT_API int dvt_writer_end(dvt_writer* writer, int written_to);
DVT_API int dvt_writer_abandon(dvt_writer* writer); /* nothing of this rank is published */
DVT_API int dvt_writer_stopped(dvt_writer* writer, int* stopped); /* a reader wants no more */
/* `failed`: readers see DVT_LOST after the complete steps; else they see the end. */
DVT_API int dvt_writer_close(dvt_writer* writer, int failed);
DVT_API int dvt_lease_close(dvt_lease* lease);

/* Opens the consuming end, once a writer has opened the stream. Ranks that share no communicator
 * name the group that they form; `group` is NULL otherwise. */
DVT_API int dvt_reader_open(const char* url, const dvt_ranks* ranks, const char* group,
                            double timeout, dvt_reader** reader);
/* Ends the step before, and waits for the next. DVT_END at the end of the stream. `timeout` may be
 * DVT_AS_OPENED. After DVT_TIMEOUT the stream is as it was: call again. */
#define DVT_AS_OPENED (-2.0)
DVT_API int dvt_reader_next(dvt_reader* reader, double timeout, dvt_step** step);
DVT_API int dvt_reader_stop(dvt_reader* reader); /* leaves, and tells the producer to stop */
DVT_API int dvt_reader_close(dvt_reader* reader, int failed);

DVT_API int dvt_step_index(dvt_step* step, int64_t* index); /* gaps: dropped, or another group's */
DVT_API int dvt_step_time(dvt_step* step, double* seconds); /* when it was complete */
DVT_API int dvt_step_attrs(dvt_step* step, const char** json);
DVT_API int dvt_step_count(dvt_step* step, int* count);
/* A whole array, described: `data` is NULL where it lies in several blocks. */
DVT_API int dvt_step_array(dvt_step* step, int index, dvt_array* array);
/* A selection of a global array, or all of it if both are NULL: a view where it lies in one block,
 * else a copy that the step keeps. Good until the step is closed. */
DVT_API int dvt_step_view(dvt_step* step, const char* name, const int64_t* start,
                          const int64_t* count, dvt_array* array);
/* Copies a selection that begins at `start` (NULL: at the origin) and has the shape of `into`, of
 * the array of its name, into the caller's memory, in whatever order that is. */
DVT_API int dvt_step_read(dvt_step* step, const dvt_array* into, const int64_t* start);
DVT_API int dvt_step_end(dvt_step* step);   /* done with it; views stay valid */
DVT_API int dvt_step_close(dvt_step* step); /* done with it, and with its views */

/* Follows a stream's newest steps; nobody is blocked and nothing is taken. */
DVT_API int dvt_tail_open(const char* url, dvt_tail** tail);
DVT_API int dvt_tail_next(dvt_tail* tail, double timeout, dvt_step** step);
DVT_API int dvt_tail_close(dvt_tail* tail);

typedef struct dvt_stream_statistics {
  int64_t steps, bytes;                    /* ended, and moved, by this end */
  double seconds_waited, seconds_in_calls; /* for the other side; in calls, waits included */
  int64_t steps_dropped, steps_redelivered;
} dvt_stream_statistics;

DVT_API int dvt_writer_get_statistics(dvt_writer* writer, dvt_stream_statistics* statistics);
DVT_API int dvt_reader_get_statistics(dvt_reader* reader, dvt_stream_statistics* statistics);

typedef struct dvt_stream_info {
  const char* url;        /* as opened: a bare name is resolved */
  int32_t policy, window; /* the writer's choice */
  int64_t epoch;          /* which of the stream's writers this is, or reads; counted from 1 */
} dvt_stream_info;

DVT_API int dvt_writer_get_info(dvt_writer* writer, dvt_stream_info* info);
DVT_API int dvt_reader_get_info(dvt_reader* reader, dvt_stream_info* info);

typedef enum dvt_stream_state {
  DVT_STREAM_OPEN = 0,
  DVT_STREAM_ENDED = 1,
  DVT_STREAM_FAILED = 2,
  DVT_STREAM_LOST = 3
} dvt_stream_state;
typedef enum dvt_group_state {
  DVT_GROUP_JOINING = 1,
  DVT_GROUP_LIVE = 2,
  DVT_GROUP_LEFT = 3,
  DVT_GROUP_FAILED = 4,
  DVT_GROUP_EXPELLED = 5,
  DVT_GROUP_LOST = 6
} dvt_group_state;
typedef struct dvt_stream_group {
  char name[64];
  int64_t ranks, steps_ended;
  int32_t state, reserved; /* a dvt_group_state */
} dvt_stream_group;
typedef struct dvt_stream_description {
  int32_t policy, window, state, reserved; /* a dvt_policy; a dvt_stream_state */
  int64_t epoch;                           /* how many writers have opened it so far */
  int64_t ranks, steps_complete, steps_held, bytes_held, capacity;
  int64_t groups_found; /* groups there are; the first 32 are told */
  dvt_stream_group groups[32];
} dvt_stream_description;

/* A stream from outside. DVT_ABSENT if there is none. */
DVT_API int dvt_stream_describe(const char* url, dvt_stream_description* description);
DVT_API int dvt_stream_destroy(const char* url); /* removes it with all it holds */

#ifdef __cplusplus
}
#endif

#endif
