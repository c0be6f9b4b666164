/* Calls one compiled model, again and again, for `dovetail bench model`.
 *
 *   caller bare FOLDER LIBTORCH BATCH RANK EXTENT…   through the package's own plain C interface
 *   caller ours FOLDER LIBTORCH BATCH RANK EXTENT…   through dovetail/model.h
 *   caller shared FOLDER LIBTORCH BATCH RANK EXTENT…   the same, computed by a process of the node
 *
 * Each line of the standard input is a number of calls; the answer is the seconds they took. Inputs
 * and outputs are float32; an output has the extent BATCH × `OUTPUT` that the first call says. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <dovetail/model.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct tensor tensor;
typedef struct container container;

static int64_t shape[8], strides[8];
static int rank;
static float *input, *output;
static size_t output_bytes;

static int32_t (*from_blob)(void*, int64_t, const int64_t*, const int64_t*, int64_t, int32_t,
                            int32_t, int32_t, tensor**);
static int32_t (*forget)(tensor*);
static int32_t (*data_of)(tensor*, void**);
static int32_t (*bytes_of)(tensor*, int64_t*);
static int32_t (*run)(container*, tensor**, size_t, tensor**, size_t, void*, void*);
static int32_t float32, cpu;
static container* bare;

static dvt_model* ours;
static dvt_array given, room;

static void* found(void* library, const char* name) {
  void* symbol = dlsym(library, name);
  if (symbol == NULL) {
    fprintf(stderr, "there is no %s\n", name);
    exit(2);
  }
  return symbol;
}

static void call_bare(void) {
  tensor *in = NULL, *out = NULL;
  void* data = NULL;
  if (from_blob(input, rank, shape, strides, 0, float32, cpu, 0, &in) != 0 ||
      run(bare, &in, 1, &out, 1, NULL, NULL) != 0 || data_of(out, &data) != 0) {
    exit(3);
  }
  if (output == NULL) {
    int64_t bytes = 0;
    bytes_of(out, &bytes);
    output_bytes = (size_t)bytes;
    output = malloc(output_bytes);
  }
  memcpy(output, data, output_bytes);
  forget(out);
}

static void call_ours(void) {
  if (dvt_model_run(ours, &given, 1, &room, 1) != DVT_OK) {
    fprintf(stderr, "%s\n", dvt_last_error());
    exit(3);
  }
}

static void open_bare(const char* folder, const char* libtorch) {
  char path[4096];
  void* torch = dlopen(libtorch, RTLD_NOW | RTLD_LOCAL);
  snprintf(path, sizeof path, "%s/model.so", folder);
  void* code = torch == NULL ? NULL : dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (code == NULL) {
    fprintf(stderr, "%s\n", dlerror());
    exit(2);
  }
  *(void**)&from_blob = found(torch, "aoti_torch_create_tensor_from_blob");
  *(void**)&forget = found(torch, "aoti_torch_delete_tensor_object");
  *(void**)&data_of = found(torch, "aoti_torch_get_data_ptr");
  *(void**)&bytes_of = found(torch, "aoti_torch_get_storage_size");
  *(void**)&run = found(code, "AOTInductorModelContainerRunSingleThreaded");
  float32 = ((int32_t (*)(void))found(torch, "aoti_torch_dtype_float32"))();
  cpu = ((int32_t (*)(void))found(torch, "aoti_torch_device_type_cpu"))();
  ((void (*)(int))found(torch, "_ZN2at15set_num_threadsEi"))(1);
  int32_t (*create)(container**, size_t, const char*, const char*) = NULL;
  *(void**)&create = found(code, "AOTInductorModelContainerCreateWithDevice");
  if (create(&bare, 1, "cpu", NULL) != 0) exit(2);
}

static void open_ours(const char* folder, int is_shared) {
  dvt_model_options options = {
      .threads = 1, .device = "cpu", .shared = is_shared ? DVT_MODEL_SHARED : 0};
  dvt_array described;
  if (dvt_model_load(folder, &options, &ours) != 0 || dvt_model_output(ours, 0, &described) != 0) {
    fprintf(stderr, "%s\n", dvt_last_error());
    exit(2);
  }
  given = (dvt_array){.data = input, .dtype = DVT_FLOAT32, .rank = rank, .shape = shape};
  static int64_t extents[8];
  size_t count = 1;
  for (int axis = 0; axis < described.rank; ++axis) {
    extents[axis] = described.shape[axis] < 0 ? shape[0] : described.shape[axis];
    count *= (size_t)extents[axis];
  }
  room = (dvt_array){.data = malloc(count * sizeof(float)),
                     .dtype = DVT_FLOAT32,
                     .rank = described.rank,
                     .shape = extents};
}

int main(int count, char** words) {
  if (count < 6) return 1;
  rank = atoi(words[5]) + 1;
  shape[0] = atol(words[4]);
  for (int axis = 1; axis < rank; ++axis) shape[axis] = atol(words[5 + axis]);
  size_t elements = 1;
  for (int axis = rank; axis-- > 0;) {
    strides[axis] = (int64_t)elements;
    elements *= (size_t)shape[axis];
  }
  input = malloc(elements * sizeof(float));
  for (size_t place = 0; place < elements; ++place) input[place] = (float)(place % 13) / 13;
  const bool is_bare = strcmp(words[1], "bare") == 0;
  if (is_bare) {
    open_bare(words[2], words[3]);
  } else {
    open_ours(words[2], strcmp(words[1], "shared") == 0);
  }
  char line[64];
  while (fgets(line, sizeof line, stdin) != NULL) {
    struct timespec begun, ended;
    const long calls = atol(line);
    clock_gettime(CLOCK_MONOTONIC, &begun);
    if (is_bare) {
      for (long call = 0; call < calls; ++call) call_bare();
    } else {
      for (long call = 0; call < calls; ++call) call_ours();
    }
    clock_gettime(CLOCK_MONOTONIC, &ended);
    printf("%.9f\n",
           (double)(ended.tv_sec - begun.tv_sec) + (double)(ended.tv_nsec - begun.tv_nsec) * 1e-9);
    fflush(stdout);
  }
  return 0;
}
