/* What Fortran cannot say itself: arrays of any type and rank as dvt_array, and back to pointers.
 * Compiled by the user, with the C compiler that belongs to the Fortran compiler. */
#include <ISO_Fortran_binding.h>
#include <dovetail/dovetail.h>
#include <dovetail/model.h>
#include <dovetail/python.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* An array that is described, with room for its extents. In Fortran: type(described). */
typedef struct described {
  dvt_array array;
  int64_t shape[CFI_MAX_RANK], strides[CFI_MAX_RANK];
  int64_t global_shape[CFI_MAX_RANK], start[CFI_MAX_RANK];
} described;

int dvtf_describe(described* self, const char* name, const CFI_cdesc_t* given, const int* dtype);
int dvtf_taken_as(described* self, int dtype);
int dvtf_place(described* self, const CFI_cdesc_t* global_shape, const CFI_cdesc_t* start);
int dvtf_extents(described* self, const char* name, int dtype, int axes,
                 const CFI_cdesc_t* extents);
int dvtf_integers(int64_t* numbers, int count, const CFI_cdesc_t* given, const char* what);
int dvtf_no_selection(const char* name, const CFI_cdesc_t* start, const CFI_cdesc_t* count);
int dvtf_selection(int64_t* start, int64_t* count, int* axes, const char* name,
                   const CFI_cdesc_t* given_start, const CFI_cdesc_t* given_count);
int dvtf_axes(const dvt_array* array, int axes);
int dvtf_point(const dvt_array* array, CFI_cdesc_t* pointer);
int dvtf_communicator(dvt_ranks* ranks, const CFI_cdesc_t* comm);
int dvtf_put(dvt_store* store, const char* key, const described* arrays, int count,
             const char* attrs, char* version);
int dvtf_reserve(dvt_store* store, const char* key, const described* arrays, int count,
                 const char* attrs, dvt_reservation** reservation);
int dvtf_run(dvt_model* model, described* inputs, int input_count, described* outputs,
             int output_count);
int dvtf_python_call(const char* function, const described* arrays, int count, const char* settings,
                     const char** answer);
const char* dvtf_complaint(void);

static _Thread_local char complaint[512];
static _Thread_local int complained = 0;

static int refuse(int status, const char* format, ...) {
  va_list parts;
  va_start(parts, format);
  vsnprintf(complaint, sizeof complaint, format, parts);
  va_end(parts);
  complained = 1;
  return status;
}

/* What was refused here and not yet asked for; NULL if the library knows. */
const char* dvtf_complaint(void) {
  const char* const text = complained ? complaint : NULL;
  complained = 0;
  return text;
}

static int is_integer(CFI_type_t type) {
  return type == CFI_type_int8_t || type == CFI_type_int16_t || type == CFI_type_int32_t ||
         type == CFI_type_int64_t || type == CFI_type_int || type == CFI_type_long ||
         type == CFI_type_long_long || type == CFI_type_short || type == CFI_type_signed_char;
}

/* 0 for a type that no dtype is like. */
static int dtype_of(const CFI_cdesc_t* given) {
  const CFI_type_t type = given->type;
  if (type == CFI_type_float) return DVT_FLOAT32;
  if (type == CFI_type_double) return DVT_FLOAT64;
  if (type == CFI_type_float_Complex) return DVT_COMPLEX64;
  if (type == CFI_type_double_Complex) return DVT_COMPLEX128;
  if (type == CFI_type_Bool) return DVT_BOOL;
  if (!is_integer(type)) return 0;
  switch (given->elem_len) {
    case 1:
      return DVT_INT8;
    case 2:
      return DVT_INT16;
    case 4:
      return DVT_INT32;
    case 8:
      return DVT_INT64;
    default:
      return 0;
  }
}

/* Fortran has no unsigned and no half-precision numbers: integers of the size hold their bits. */
static int holds(int own, int dtype) {
  if (own == dtype) return 1;
  if (own < DVT_INT8 || own > DVT_INT64) return 0;
  return (dtype >= DVT_UINT8 && dtype <= DVT_BFLOAT16) &&
         dvt_item_bytes(own) == dvt_item_bytes(dtype);
}

static int refuse_type(const char* name, const CFI_cdesc_t* given) {
  return refuse(DVT_UNSUPPORTED,
                "\"%s\" has elements of %zu bytes of a type that is no dtype: integers of 1 to 8 "
                "bytes, real and complex of kinds real32 and real64, and logical(c_bool) are",
                name, given->elem_len);
}

/* The bits of integers as those of another dtype. */
int dvtf_taken_as(described* self, int dtype) {
  const int own = self->array.dtype;
  if (!holds(own, dtype)) {
    return refuse(DVT_UNSUPPORTED, "\"%s\" is %s, whose elements cannot hold those of dtype %s",
                  self->array.name, dvt_dtype_name(own), dvt_dtype_name(dtype));
  }
  self->array.dtype = dtype;
  return DVT_OK;
}

int dvtf_describe(described* self, const char* name, const CFI_cdesc_t* given, const int* dtype) {
  memset(self, 0, sizeof *self);
  const int own = dtype_of(given);
  if (own == 0) return refuse_type(name, given);
  self->array.name = name;
  self->array.dtype = own;
  if (dtype != NULL) {
    const int status = dvtf_taken_as(self, *dtype);
    if (status != DVT_OK) return status;
  }
  int dense = 1;
  int64_t next = (int64_t)given->elem_len;
  for (int i = 0; i < given->rank; ++i) {
    const int64_t extent = given->dim[i].extent;
    if (extent < 0) {
      return refuse(DVT_ARGUMENT,
                    "\"%s\" is of assumed size, so its last extent is not known: give a section "
                    "with all its bounds",
                    name);
    }
    self->shape[i] = extent;
    self->strides[i] = given->dim[i].sm;
    if (extent != 1 && given->dim[i].sm != next) dense = 0;
    next *= extent;
  }
  self->array.data = given->base_addr;
  self->array.rank = given->rank;
  self->array.shape = self->shape;
  self->array.strides = dense || next == 0 ? NULL : self->strides;
  self->array.order = DVT_COLUMN_MAJOR;
  if (given->base_addr == NULL && next != 0) {
    return refuse(DVT_ARGUMENT, "\"%s\" is not allocated", name);
  }
  return DVT_OK;
}

int dvtf_integers(int64_t* numbers, int count, const CFI_cdesc_t* given, const char* what) {
  if (given->rank != 1 || !is_integer(given->type) || given->elem_len < 4) {
    return refuse(DVT_ARGUMENT, "%s must be a rank-1 array of integer(int32) or integer(int64)",
                  what);
  }
  if (given->dim[0].extent != count) {
    return refuse(DVT_ARGUMENT, "%s has %ld numbers, but the array has %d axes", what,
                  (long)given->dim[0].extent, count);
  }
  for (int i = 0; i < count; ++i) {
    const char* const at = (const char*)given->base_addr + i * given->dim[0].sm;
    numbers[i] = given->elem_len == 8 ? *(const int64_t*)at : *(const int32_t*)at;
  }
  return DVT_OK;
}

int dvtf_place(described* self, const CFI_cdesc_t* global_shape, const CFI_cdesc_t* start) {
  if ((global_shape == NULL) != (start == NULL)) {
    return refuse(DVT_ARGUMENT, "\"%s\" has a %s but no %s: a block of a global array needs both",
                  self->array.name, start == NULL ? "shape" : "start",
                  start == NULL ? "start" : "shape");
  }
  if (start == NULL) return DVT_OK;
  int status = dvtf_integers(self->global_shape, self->array.rank, global_shape, "shape");
  if (status == DVT_OK) status = dvtf_integers(self->start, self->array.rank, start, "start");
  self->array.global_shape = self->global_shape;
  self->array.start = self->start;
  return status;
}

/* `axes` of a pointer that there is already; -1 for any. */
int dvtf_extents(described* self, const char* name, int dtype, int axes,
                 const CFI_cdesc_t* extents) {
  memset(self, 0, sizeof *self);
  const int64_t rank = extents->rank == 1 ? extents->dim[0].extent : -1;
  if (rank < 0 || rank > CFI_MAX_RANK) {
    return refuse(DVT_ARGUMENT, "the extents of \"%s\" must be a rank-1 array of at most %d", name,
                  CFI_MAX_RANK);
  }
  self->array.name = name;
  self->array.dtype = dtype;
  self->array.rank = (int32_t)rank;
  self->array.shape = self->shape;
  self->array.order = DVT_COLUMN_MAJOR;
  return dvtf_integers(self->shape, axes < 0 ? (int)rank : axes, extents, "extents");
}

int dvtf_no_selection(const char* name, const CFI_cdesc_t* start, const CFI_cdesc_t* count) {
  if (start == NULL && count == NULL) return DVT_OK;
  return refuse(DVT_ARGUMENT, "\"%s\" is not of a step: view all of it, and take a section", name);
}

/* `start` and `count` have room for as many axes as any array has. */
int dvtf_selection(int64_t* start, int64_t* count, int* axes, const char* name,
                   const CFI_cdesc_t* given_start, const CFI_cdesc_t* given_count) {
  if (given_start == NULL || given_count == NULL) {
    return refuse(DVT_ARGUMENT, "a selection of \"%s\" needs both start and count", name);
  }
  const int64_t length = given_start->rank == 1 ? given_start->dim[0].extent : 0;
  if (length > CFI_MAX_RANK) {
    return refuse(DVT_ARGUMENT, "start has %ld numbers, and arrays have at most %d axes",
                  (long)length, CFI_MAX_RANK);
  }
  *axes = (int)length;
  const int status = dvtf_integers(start, *axes, given_start, "start");
  return status == DVT_OK ? dvtf_integers(count, *axes, given_count, "count") : status;
}

int dvtf_axes(const dvt_array* array, int axes) {
  if (array->rank == axes) return DVT_OK;
  return refuse(DVT_ARGUMENT, "start and count have %d numbers, but \"%s\" has %d axes", axes,
                array->name == NULL ? "value" : array->name, array->rank);
}

/* Points at an array with bounds from 1. Any strides will do: nothing is copied. */
int dvtf_point(const dvt_array* array, CFI_cdesc_t* pointer) {
  const char* const name = array->name == NULL ? "value" : array->name;
  const int own = dtype_of(pointer);
  if (own == 0) return refuse_type(name, pointer);
  if (!holds(own, array->dtype)) {
    return refuse(DVT_UNSUPPORTED, "\"%s\" is %s, and the pointer is for %s", name,
                  dvt_dtype_name(array->dtype), dvt_dtype_name(own));
  }
  if (array->rank != pointer->rank) {
    return refuse(DVT_UNSUPPORTED, "\"%s\" has %d axes, and the pointer has %d", name, array->rank,
                  pointer->rank);
  }
  CFI_index_t extents[CFI_MAX_RANK], lower[CFI_MAX_RANK];
  int64_t elements = 1;
  for (int i = 0; i < array->rank; ++i) elements *= array->shape[i];
  if (array->data == NULL && elements != 0) {
    return refuse(DVT_ARGUMENT, "\"%s\" has no data to point at: what stat gave describes it",
                  name);
  }
  int64_t next = dvt_item_bytes(array->dtype);
  static char nothing[16];
  void* const data = array->data == NULL ? nothing : array->data;
  for (int i = 0; i < array->rank; ++i) {
    extents[i] = (CFI_index_t)array->shape[i];
    lower[i] = 1;
  }
  CFI_CDESC_T(CFI_MAX_RANK) room;
  CFI_cdesc_t* const view = (CFI_cdesc_t*)&room;
  int failed = CFI_establish(view, data, CFI_attribute_pointer, pointer->type, pointer->elem_len,
                             pointer->rank, extents);
  for (int i = 0; i < array->rank && failed == CFI_SUCCESS; ++i) {
    view->dim[i].sm = (CFI_index_t)(array->strides == NULL ? next : array->strides[i]);
    next *= array->shape[i];
  }
  if (failed == CFI_SUCCESS) failed = CFI_setpointer(pointer, view, lower);
  if (failed == CFI_SUCCESS) return DVT_OK;
  return refuse(DVT_INTERNAL, "the Fortran runtime made no pointer to \"%s\": CFI error %d", name,
                failed);
}

/* An INTEGER handle, or a type(MPI_Comm), which is one. */
int dvtf_communicator(dvt_ranks* ranks, const CFI_cdesc_t* comm) {
  if (comm->rank != 0 || comm->elem_len != sizeof(int) ||
      !(is_integer(comm->type) || dtype_of(comm) == 0)) {
    return refuse(DVT_ARGUMENT,
                  "comm must be one communicator: an integer of `use mpi`, or a type(MPI_Comm)");
  }
  ranks->comm_kind = DVT_COMM_FORTRAN;
  ranks->comm = comm->base_addr;
  return DVT_OK;
}

#define MOST_ARRAYS 256

static int gather(dvt_array* all, const described* arrays, int count) {
  if (count > MOST_ARRAYS) {
    return refuse(DVT_ARGUMENT, "%d arrays are too many for one value: at most %d", count,
                  MOST_ARRAYS);
  }
  for (int i = 0; i < count; ++i) {
    all[i] = arrays[i].array;
    all[i].shape = arrays[i].shape;
    if (all[i].strides != NULL) all[i].strides = arrays[i].strides;
  }
  return DVT_OK;
}

int dvtf_put(dvt_store* store, const char* key, const described* arrays, int count,
             const char* attrs, char* version) {
  dvt_array all[MOST_ARRAYS];
  const int status = gather(all, arrays, count);
  return status == DVT_OK ? dvt_store_put(store, key, all, count, attrs, version) : status;
}

int dvtf_reserve(dvt_store* store, const char* key, const described* arrays, int count,
                 const char* attrs, dvt_reservation** reservation) {
  dvt_array all[MOST_ARRAYS];
  const int status = gather(all, arrays, count);
  return status == DVT_OK ? dvt_store_reserve(store, key, all, count, attrs, reservation) : status;
}

/* Integers become what the model takes there, if they can hold its bits. */
static int adopt(dvt_model* model, int (*wanted)(dvt_model*, int, dvt_array*), described* arrays,
                 int count) {
  for (int i = 0; i < count; ++i) {
    dvt_array one;
    const int own = arrays[i].array.dtype;
    if (own < DVT_INT8 || own > DVT_INT64) continue;
    const int status = wanted(model, i, &one);
    if (status == DVT_ARGUMENT) return DVT_OK; /* too many: the call says so, with what it takes */
    if (status < 0) return status;
    if (holds(own, one.dtype)) arrays[i].array.dtype = one.dtype;
  }
  return DVT_OK;
}

int dvtf_run(dvt_model* model, described* inputs, int input_count, described* outputs,
             int output_count) {
  dvt_array given[MOST_ARRAYS], made[MOST_ARRAYS];
  int status = adopt(model, dvt_model_input, inputs, input_count);
  if (status == DVT_OK) status = adopt(model, dvt_model_output, outputs, output_count);
  if (status == DVT_OK) status = gather(given, inputs, input_count);
  if (status == DVT_OK) status = gather(made, outputs, output_count);
  return status == DVT_OK ? dvt_model_run(model, given, input_count, made, output_count) : status;
}

int dvtf_python_call(const char* function, const described* arrays, int count, const char* settings,
                     const char** answer) {
  dvt_array all[MOST_ARRAYS];
  const int status = gather(all, arrays, count);
  return status == DVT_OK ? dvt_python_call(function, all, count, settings, answer) : status;
}
