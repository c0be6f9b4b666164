/* What of abi.py Fortran cannot take or give itself: described arrays become descriptors of
 * Fortran, which the procedures of the driver hand to the module, and pointers are described. */
#define _POSIX_C_SOURCE 200809L /* strdup */
#include <ISO_Fortran_binding.h>
#include <dovetail/dovetail.h>
#include <stdlib.h>
#include <string.h>

typedef CFI_CDESC_T(CFI_MAX_RANK) any_array;
typedef CFI_cdesc_t array;

/* --- the procedures of the driver in Fortran --- */

enum { OF_VALUE, OF_RESERVATION, OF_STEP };

int driver_store_put(void* store, const char* key, const char* name, array* given, int dtype,
                     const char* attrs, char* version);
int driver_store_put_fields(void* store, const char* key, const char* const* names, array* a1,
                            array* a2, array* a3, array* a4, array* a5, array* a6, array* a7,
                            array* a8, const char* attrs, char* version);
int driver_value_describe(void* value, int index, const char** name, int* dtype, int* axes,
                          const int64_t** extents);
int driver_value_read(void* value, const char* name, array* into, int dtype);
void driver_room_new(void** room);
int driver_room_declare(void* room, const char* name, int dtype, int axes, const int64_t* extents);
int driver_room_reserve(void* store, const char* key, const char* attrs, void* room);
int driver_room_commit(void* room, int written_to, char* version);
int driver_room_close(void* room);
int driver_writer_put(void* writer, const char* name, array* given, int dtype, int axes,
                      const int64_t* shape, const int64_t* start);
int driver_step_describe(void* step, int index, const char** name, int* dtype, int* axes,
                         const int64_t** extents);
int driver_step_read(void* step, const char* name, array* into, int dtype, int axes,
                     const int64_t* start);
int fortran_value_count(void* value, int* count);
int fortran_step_count(void* step, int* count);

#define OF_EACH_TYPE(one)                                                                          \
  one(int8) one(int16) one(int32) one(int64) one(real32) one(real64) one(complex32) one(complex64) \
      one(bool)
#define VIEW(type)                                                                            \
  int driver_view_##type(int kind, void* handle, const char* name, array* into, int axes,     \
                         const int64_t* start, const int64_t* count);                         \
  int driver_empty_##type(void* writer, const char* name, array* into, int dtype, int axes,   \
                          const int64_t* extents, const int64_t* shape, const int64_t* start, \
                          void** lease);
OF_EACH_TYPE(VIEW)

/* --- what was said, and what the adapter looks at soon --- */

static _Thread_local char sentence[8192];

void driver_said(const char* text, int length);
void driver_said(const char* text, int length) {
  const size_t bytes = (size_t)length < sizeof sentence ? (size_t)length : sizeof sentence - 1;
  memcpy(sentence, text, bytes);
  sentence[bytes] = '\0';
}
static int say(int status, const char* text) {
  driver_said(text, (int)strlen(text));
  return status;
}
const char* fortran_last_error(void);
const char* fortran_last_error(void) { return sentence; }
int fortran_last_errno(void);
int fortran_last_errno(void) { return dvt_last_errno(); }

static void* keep(const void* bytes, size_t length, size_t room) {
  static _Thread_local void* all[4096];
  static _Thread_local unsigned next = 0;
  void** const place = &all[next++ % (sizeof all / sizeof *all)];
  free(*place);
  *place = calloc(1, room);
  if (length != 0) memcpy(*place, bytes, length);
  return *place;
}
char* driver_kept(const char* text, int length);
char* driver_kept(const char* text, int length) {
  return keep(text, (size_t)length, (size_t)length + 1);
}
int64_t* driver_extents(const int64_t* numbers, int count);
int64_t* driver_extents(const int64_t* numbers, int count) {
  const size_t bytes = (size_t)count * sizeof *numbers;
  return keep(numbers, bytes, bytes + 1);
}

/* --- described arrays and descriptors --- */

static const struct {
  CFI_type_t type;
  int own; /* the dtype that elements of this type are, without being told */
} types[] = {
    [DVT_BOOL] = {CFI_type_Bool, DVT_BOOL},
    [DVT_INT8] = {CFI_type_int8_t, DVT_INT8},
    [DVT_INT16] = {CFI_type_int16_t, DVT_INT16},
    [DVT_INT32] = {CFI_type_int32_t, DVT_INT32},
    [DVT_INT64] = {CFI_type_int64_t, DVT_INT64},
    [DVT_UINT8] = {CFI_type_int8_t, DVT_INT8},
    [DVT_UINT16] = {CFI_type_int16_t, DVT_INT16},
    [DVT_UINT32] = {CFI_type_int32_t, DVT_INT32},
    [DVT_UINT64] = {CFI_type_int64_t, DVT_INT64},
    [DVT_FLOAT16] = {CFI_type_int16_t, DVT_INT16},
    [DVT_BFLOAT16] = {CFI_type_int16_t, DVT_INT16},
    [DVT_FLOAT32] = {CFI_type_float, DVT_FLOAT32},
    [DVT_FLOAT64] = {CFI_type_double, DVT_FLOAT64},
    [DVT_COMPLEX64] = {CFI_type_float_Complex, DVT_COMPLEX64},
    [DVT_COMPLEX128] = {CFI_type_double_Complex, DVT_COMPLEX128},
};

static int fits(const dvt_array* given) {
  if (given->dtype < DVT_BOOL || given->dtype > DVT_COMPLEX128) {
    return say(DVT_UNSUPPORTED, "no type of Fortran for this dtype");
  }
  if (given->rank < 0 || given->rank > CFI_MAX_RANK) {
    return say(DVT_UNSUPPORTED, "an array of Fortran has at most 15 axes");
  }
  return DVT_OK;
}

/* As a section of an array lies: any strides. */
static int describe(any_array* made, const dvt_array* given) {
  const int status = fits(given);
  if (status != DVT_OK) return status;
  array* const self = (array*)made;
  static char nothing[16];
  int64_t next = dvt_item_bytes(given->dtype);
  CFI_index_t extents[CFI_MAX_RANK];
  for (int i = 0; i < given->rank; ++i) extents[i] = (CFI_index_t)given->shape[i];
  if (CFI_establish(self, given->data == NULL ? nothing : given->data, CFI_attribute_other,
                    types[given->dtype].type, (size_t)next, (CFI_rank_t)given->rank, extents)) {
    return say(DVT_INTERNAL, "the Fortran runtime made no descriptor");
  }
  for (int i = given->rank - 1; i >= 0; --i) {
    self->dim[i].sm = (CFI_index_t)(given->strides == NULL ? next : given->strides[i]);
    next *= given->shape[i];
  }
  return DVT_OK;
}

static int pointer_for(any_array* made, int dtype, int axes) {
  if (CFI_establish((array*)made, NULL, CFI_attribute_pointer, types[dtype].type,
                    (size_t)dvt_item_bytes(dtype), (CFI_rank_t)axes, NULL)) {
    return say(DVT_INTERNAL, "the Fortran runtime made no pointer");
  }
  return DVT_OK;
}

static void tell(dvt_array* told, const array* pointer, int dtype) {
  int64_t extents[CFI_MAX_RANK], strides[CFI_MAX_RANK];
  for (int i = 0; i < pointer->rank; ++i) {
    extents[i] = pointer->dim[i].extent;
    strides[i] = pointer->dim[i].sm;
  }
  told->data = pointer->base_addr;
  told->dtype = dtype;
  told->rank = pointer->rank;
  told->shape = driver_extents(extents, pointer->rank);
  told->strides = driver_extents(strides, pointer->rank);
}

static int view(int kind, void* handle, const char* name, int dtype, int axes, const int64_t* start,
                const int64_t* count, dvt_array* told) {
  any_array made;
  array* const pointer = (array*)&made;
  int status = pointer_for(&made, dtype, axes);
  if (status != DVT_OK) return status;
  switch (types[dtype].own) {
#define ONE(number, type)                                                         \
  case number:                                                                    \
    status = driver_view_##type(kind, handle, name, pointer, axes, start, count); \
    break;
    ONE(DVT_INT8, int8)
    ONE(DVT_INT16, int16)
    ONE(DVT_INT32, int32)
    ONE(DVT_INT64, int64)
    ONE(DVT_FLOAT32, real32)
    ONE(DVT_FLOAT64, real64)
    ONE(DVT_COMPLEX64, complex32)
    ONE(DVT_COMPLEX128, complex64)
    ONE(DVT_BOOL, bool)
#undef ONE
  }
  if (status >= 0) tell(told, pointer, dtype);
  return status;
}

/* --- stores --- */

typedef struct {
  void* room;
  int count;
  dvt_array* declared; /* name, dtype and rank */
} reservation;

int fortran_reservation_close(reservation* self);
int fortran_reservation_close(reservation* self) {
  const int status = driver_room_close(self->room);
  for (int i = 0; i < self->count; ++i) free((void*)self->declared[i].name);
  free(self->declared);
  free(self);
  return status;
}

int fortran_store_reserve(void* store, const char* key, const dvt_array* arrays, int count,
                          const char* attrs, reservation** made);
int fortran_store_reserve(void* store, const char* key, const dvt_array* arrays, int count,
                          const char* attrs, reservation** made) {
  reservation* const self = calloc(1, sizeof *self);
  self->declared = calloc((size_t)count + 1, sizeof *self->declared);
  driver_room_new(&self->room);
  int status = DVT_OK;
  for (int i = 0; i < count && status >= 0; ++i) {
    self->declared[i] = arrays[i];
    self->declared[i].name = strdup(arrays[i].name);
    self->count = i + 1;
    status = driver_room_declare(self->room, arrays[i].name, arrays[i].dtype, arrays[i].rank,
                                 arrays[i].shape);
  }
  if (status >= 0) status = driver_room_reserve(store, key, attrs, self->room);
  if (status >= 0) {
    *made = self;
  } else {
    fortran_reservation_close(self);
  }
  return status;
}

int fortran_reservation_array(reservation* self, const char* name, dvt_array* told);
int fortran_reservation_array(reservation* self, const char* name, dvt_array* told) {
  for (int i = 0; i < self->count; ++i) {
    if (strcmp(self->declared[i].name, name) != 0) continue;
    return view(OF_RESERVATION, self->room, name, self->declared[i].dtype, self->declared[i].rank,
                NULL, NULL, told);
  }
  return say(DVT_ABSENT, "no array of this name was declared");
}

int fortran_reservation_commit(reservation* self, int written_to, char* version);
int fortran_reservation_commit(reservation* self, int written_to, char* version) {
  return driver_room_commit(self->room, written_to, version);
}

static void copy(char* to, const int64_t* to_strides, const char* from, const int64_t* from_strides,
                 const int64_t* shape, int rank, size_t item) {
  if (rank == 0) {
    memcpy(to, from, item);
    return;
  }
  for (int64_t i = 0; i < shape[0]; ++i) {
    copy(to + i * to_strides[0], to_strides + 1, from + i * from_strides[0], from_strides + 1,
         shape + 1, rank - 1, item);
  }
}

/* What the module puts at once has at most eight arrays, of types that say themselves what they
 * are; the rest is filled in place. */
static int fill(void* store, const char* key, const dvt_array* arrays, int count, const char* attrs,
                char* version) {
  reservation* room = NULL;
  int status = fortran_store_reserve(store, key, arrays, count, attrs, &room);
  if (status < 0) return status;
  for (int i = 0; i < count && status >= 0; ++i) {
    any_array made;
    dvt_array told;
    memset(&told, 0, sizeof told);
    status = describe(&made, &arrays[i]);
    if (status >= 0) status = fortran_reservation_array(room, arrays[i].name, &told);
    if (status < 0) break;
    int64_t strides[CFI_MAX_RANK];
    for (int axis = 0; axis < told.rank; ++axis) strides[axis] = ((array*)&made)->dim[axis].sm;
    copy(told.data, told.strides, arrays[i].data, strides, told.shape, told.rank,
         (size_t)dvt_item_bytes(told.dtype));
  }
  if (status >= 0) status = driver_room_commit(room->room, 0, version);
  fortran_reservation_close(room);
  return status;
}

int fortran_store_put(void* store, const char* key, const dvt_array* arrays, int count,
                      const char* attrs, char* version);
int fortran_store_put(void* store, const char* key, const dvt_array* arrays, int count,
                      const char* attrs, char* version) {
  any_array made[8];
  const char* names[8] = {NULL};
  array* given[8] = {NULL};
  int as_they_are = count >= 1 && count <= 8;
  for (int i = 0; i < count; ++i) {
    const int status = fits(&arrays[i]);
    if (status != DVT_OK) return status;
    if (count > 1 && types[arrays[i].dtype].own != arrays[i].dtype) as_they_are = 0;
  }
  if (!as_they_are) return fill(store, key, arrays, count, attrs, version);
  for (int i = 0; i < count; ++i) {
    const int status = describe(&made[i], &arrays[i]);
    if (status != DVT_OK) return status;
    given[i] = (array*)&made[i];
    names[i] = arrays[i].name;
  }
  if (count == 1) {
    return driver_store_put(store, key, names[0], given[0], arrays[0].dtype, attrs, version);
  }
  return driver_store_put_fields(store, key, names, given[0], given[1], given[2], given[3],
                                 given[4], given[5], given[6], given[7], attrs, version);
}

/* Of all arrays `describe` tells, the one of this name. */
typedef int describer(void*, int, const char**, int*, int*, const int64_t**);

static int find(describer* tells, void* handle, int count, const char* wanted, dvt_array* told) {
  for (int i = 0; i < count; ++i) {
    const int status = tells(handle, i, &told->name, &told->dtype, &told->rank, &told->shape);
    if (status < 0 || strcmp(told->name, wanted) == 0) return status;
  }
  /* One that there is not: let the module say so. */
  *told = (dvt_array){.name = wanted, .dtype = DVT_INT8};
  return DVT_OK;
}

/* What dvt_store_stat gave has no data, which the module says with DVT_ARGUMENT. */
static int with_data(void* value, dvt_array* told) {
  const dvt_array described = *told;
  const int status =
      view(OF_VALUE, value, described.name, described.dtype, described.rank, NULL, NULL, told);
  return status == DVT_ARGUMENT ? DVT_OK : status;
}

int fortran_value_array(void* value, int index, dvt_array* told);
int fortran_value_array(void* value, int index, dvt_array* told) {
  memset(told, 0, sizeof *told);
  const int status =
      driver_value_describe(value, index, &told->name, &told->dtype, &told->rank, &told->shape);
  return status < 0 ? status : with_data(value, told);
}

int fortran_value_find(void* value, const char* name, dvt_array* told);
int fortran_value_find(void* value, const char* name, dvt_array* told) {
  int count = 0;
  memset(told, 0, sizeof *told);
  int status = fortran_value_count(value, &count);
  if (status >= 0) status = find(driver_value_describe, value, count, name, told);
  return status < 0 ? status : with_data(value, told);
}

int fortran_value_read(void* value, const dvt_array* into);
int fortran_value_read(void* value, const dvt_array* into) {
  any_array made;
  dvt_array only = {.name = "value"};
  int count = 0;
  int status = describe(&made, into);
  if (status >= 0 && into->name == NULL) status = fortran_value_count(value, &count);
  if (status >= 0 && count == 1) {
    status = driver_value_describe(value, 0, &only.name, &only.dtype, &only.rank, &only.shape);
  }
  if (status < 0) return status;
  const char* const name = into->name == NULL ? only.name : into->name;
  return driver_value_read(value, name, (array*)&made, into->dtype);
}

/* --- streams --- */

int fortran_writer_put(void* writer, const dvt_array* given);
int fortran_writer_put(void* writer, const dvt_array* given) {
  any_array made;
  const int status = describe(&made, given);
  if (status < 0) return status;
  return driver_writer_put(writer, given->name, (array*)&made, given->dtype, given->rank,
                           given->global_shape, given->start);
}

int fortran_writer_empty(void* writer, dvt_array* wanted, void** lease);
int fortran_writer_empty(void* writer, dvt_array* wanted, void** lease) {
  any_array made;
  array* const pointer = (array*)&made;
  int status = fits(wanted);
  if (status >= 0) status = pointer_for(&made, wanted->dtype, wanted->rank);
  if (status < 0) return status;
  switch (types[wanted->dtype].own) {
#define ONE(number, type)                                                                    \
  case number:                                                                               \
    status = driver_empty_##type(writer, wanted->name, pointer, wanted->dtype, wanted->rank, \
                                 wanted->shape, wanted->global_shape, wanted->start, lease); \
    break;
    ONE(DVT_INT8, int8)
    ONE(DVT_INT16, int16)
    ONE(DVT_INT32, int32)
    ONE(DVT_INT64, int64)
    ONE(DVT_FLOAT32, real32)
    ONE(DVT_FLOAT64, real64)
    ONE(DVT_COMPLEX64, complex32)
    ONE(DVT_COMPLEX128, complex64)
    ONE(DVT_BOOL, bool)
#undef ONE
  }
  if (status >= 0) tell(wanted, pointer, wanted->dtype);
  return status;
}

int fortran_step_array(void* step, int index, dvt_array* told);
int fortran_step_array(void* step, int index, dvt_array* told) {
  memset(told, 0, sizeof *told);
  return driver_step_describe(step, index, &told->name, &told->dtype, &told->rank, &told->shape);
}

int fortran_step_view(void* step, const char* name, const int64_t* start, const int64_t* count,
                      dvt_array* told);
int fortran_step_view(void* step, const char* name, const int64_t* start, const int64_t* count,
                      dvt_array* told) {
  int arrays = 0;
  memset(told, 0, sizeof *told);
  int status = fortran_step_count(step, &arrays);
  if (status >= 0) status = find(driver_step_describe, step, arrays, name, told);
  if (status < 0) return status;
  return view(OF_STEP, step, name, told->dtype, told->rank, start, count, told);
}

int fortran_step_read(void* step, const dvt_array* into, const int64_t* start);
int fortran_step_read(void* step, const dvt_array* into, const int64_t* start) {
  any_array made;
  const int status = describe(&made, into);
  if (status < 0) return status;
  return driver_step_read(step, into->name, (array*)&made, into->dtype, into->rank, start);
}
