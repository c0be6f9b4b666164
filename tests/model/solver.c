/* What a solver in C does with a model, on command. Each line of the standard input is a command;
 * the answer is one line: the status, and what else there is to say. */
#include <dovetail/model.h>
#include <omp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static dvt_model* model = NULL;
static dvt_store* store = NULL;

static void answer(int status) {
  printf("%s: %s\n", dvt_status_name(status), status < 0 ? dvt_last_error() : "");
}

/* x(batch, 8) float32, scale(batch, 1) bfloat16, shift(batch) int64 in one file, one after the
 * other; the outputs likewise. */
static int run(long batch, const char* from, const char* to, long rows, int column_major,
               int count) {
  const size_t sizes[3] = {(size_t)batch * 32, (size_t)batch * 2, (size_t)batch * 8};
  void* data[3];
  FILE* file = fopen(from, "rb");
  for (int place = 0; place < 3; ++place) {
    data[place] = malloc(sizes[place]);
    if (fread(data[place], 1, sizes[place], file) != sizes[place]) exit(3);
  }
  fclose(file);
  int64_t x[2] = {batch, 8}, reversed[2] = {8, batch}, scale[2] = {batch, 1}, shift[1] = {batch};
  int64_t first[2] = {rows, 4}, second[1] = {rows};
  float* outputs0 = calloc((size_t)rows * 4 + 1, 4);
  uint16_t* outputs1 = calloc((size_t)rows + 1, 2);
  dvt_array inputs[3] = {{.data = data[0], .dtype = DVT_FLOAT32, .rank = 2, .shape = x},
                         {.data = data[1], .dtype = DVT_BFLOAT16, .rank = 2, .shape = scale},
                         {.data = data[2], .dtype = DVT_INT64, .rank = 1, .shape = shift}};
  if (column_major) {
    inputs[0].shape = reversed;
    inputs[0].order = DVT_COLUMN_MAJOR;
  }
  dvt_array outputs[2] = {{.data = outputs0, .dtype = DVT_FLOAT32, .rank = 2, .shape = first},
                          {.data = outputs1, .dtype = DVT_BFLOAT16, .rank = 1, .shape = second}};
  const int status = dvt_model_run(model, inputs, count, outputs, 2);
  file = fopen(to, "wb");
  fwrite(outputs0, 4, (size_t)rows * 4, file);
  fwrite(outputs1, 2, (size_t)rows, file);
  fclose(file);
  for (int place = 0; place < 3; ++place) free(data[place]);
  free(outputs0);
  free(outputs1);
  return status;
}

static void describe(void) {
  int inputs = 0, outputs = 0;
  dvt_array array;
  dvt_model_count(model, &inputs, &outputs);
  printf("%d %d", inputs, outputs);
  for (int place = 0; place < inputs && dvt_model_input(model, place, &array) == 0; ++place) {
    printf(" %s:%s", array.name, dvt_dtype_name(array.dtype));
    for (int axis = 0; axis < array.rank; ++axis) printf(",%ld", (long)array.shape[axis]);
  }
  printf("\n");
}

/* How many threads a parallel region of the solver's own has, and its limit. */
static void openmp(int wanted) {
  int seen = 0;
  if (wanted > 0) omp_set_num_threads(wanted);
#pragma omp parallel
  {
#pragma omp single
    seen = omp_get_num_threads();
  }
  printf("%d %d\n", omp_get_max_threads(), seen);
}

static void statistics(void) {
  dvt_model_statistics s;
  dvt_model_get_statistics(model, &s);
  printf("calls %ld fallbacks %ld range %ld finite %ld version %ld taken %ld refused %ld\n",
         (long)s.calls, (long)s.fallbacks, (long)s.out_of_range, (long)s.non_finite,
         (long)s.version, (long)s.taken, (long)s.refused);
}

int main(void) {
  char line[4096], word[64], a[2048], b[1024];
  setvbuf(stdout, NULL, _IOLBF, 0);
  while (fgets(line, sizeof line, stdin) != NULL) {
    long n = 0, m = 0;
    int k = 0, flag = 0;
    double low = 0, high = 0;
    if (sscanf(line, "%63s", word) != 1) continue;
    if (sscanf(line, "load %2047s %ld %1023s", a, &n, b) == 3) {
      dvt_model_options options = {.threads = (int)n, .device = b, .timeout = 200};
      answer(dvt_model_load(a, &options, &model));
    } else if (sscanf(line, "share %2047s %d %lf %lf", a, &k, &low, &high) == 4) {
      dvt_model_options options = {
          .threads = 1, .device = "cpu", .shared = k, .gather = low, .timeout = high};
      answer(dvt_model_load(a, &options, &model));
    } else if (sscanf(line, "run %ld %2047s %1023s %ld %d %d", &n, a, b, &m, &flag, &k) == 6) {
      const int status = run(n, a, b, m, flag, k);
      if (status == DVT_FALL_BACK) {
        printf("fall back\n");
      } else {
        answer(status);
      }
    } else if (sscanf(line, "guard %lf %lf %d", &low, &high, &k) == 3) {
      double lower[64], upper[64];
      for (int channel = 0; channel < k; ++channel) {
        lower[channel] = low;
        upper[channel] = high;
      }
      answer(dvt_model_guard(model, lower, upper, k, -1));
    } else if (sscanf(line, "follow %2047s %1023s", a, b) == 2) {
      int status = dvt_store_open(a, &store);
      if (status == 0) status = dvt_model_follow(model, store, b);
      if (status == 0) status = dvt_store_close(store);
      answer(status);
    } else if (strcmp(word, "refresh") == 0) {
      int taken = -1;
      const int status = dvt_model_refresh(model, &taken);
      if (status == 0) {
        printf("taken %d\n", taken);
      } else {
        answer(status);
      }
    } else if (strcmp(word, "describe") == 0) {
      describe();
    } else if (sscanf(line, "openmp %d", &k) == 1) {
      openmp(k);
    } else if (strcmp(word, "statistics") == 0) {
      statistics();
    } else if (strcmp(word, "close") == 0) {
      answer(dvt_model_close(model));
    } else {
      printf("what? %s", line);
    }
  }
  return 0;
}
