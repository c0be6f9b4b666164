/* The ranks of an MPI program in C: one end of a stream, by a communicator.
 *
 *   mpi_ranks write|read|refuse|rank0 URL c|fortran
 */
#include <dovetail/dovetail.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STEPS = 20, ROWS = 3, COLUMNS = 4 };

static void check(int status) {
  if (status >= 0) return;
  fprintf(stderr, "%s: %s\n", dvt_status_name(status), dvt_last_error());
  MPI_Abort(MPI_COMM_WORLD, 1);
}

static void write_steps(const char* url, const dvt_ranks* ranks, int rank, int size) {
  const int64_t shape[] = {ROWS, COLUMNS}, whole[] = {(int64_t)ROWS * size, COLUMNS};
  const int64_t start[] = {(int64_t)ROWS * rank, 0};
  double u[ROWS * COLUMNS];
  dvt_array array = {.name = "u", .data = u, .dtype = DVT_FLOAT64, .rank = 2, .shape = shape};
  dvt_writer* out;
  array.global_shape = whole;
  array.start = start;
  check(dvt_writer_open(url, DVT_BUFFERED, 2, ranks, 60.0, 0, &out));
  for (int n = 0; n < STEPS; ++n) {
    for (int i = 0; i < ROWS * COLUMNS; ++i) u[i] = 1000.0 * n + 100.0 * rank + i;
    check(dvt_writer_begin(out, NULL, NULL));
    check(dvt_writer_put(out, &array));
    check(dvt_writer_end(out, 0));
  }
  check(dvt_writer_close(out, 0));
}

/* Every rank sees every step, whole. */
static void read_steps(const char* url, const dvt_ranks* ranks, int rank) {
  dvt_reader* in;
  dvt_step* step;
  int64_t index = -1, seen = 0;
  int status;
  check(dvt_reader_open(url, ranks, NULL, 60.0, &in));
  while ((status = dvt_reader_next(in, DVT_AS_OPENED, &step)) == DVT_OK) {
    dvt_array u;
    check(dvt_step_index(step, &index));
    check(dvt_step_view(step, "u", NULL, NULL, &u));
    for (int64_t j = 0; j < u.shape[0]; ++j)
      for (int64_t i = 0; i < u.shape[1]; ++i) {
        const double* cell =
            (const double*)((const char*)u.data + j * u.strides[0] + i * u.strides[1]);
        const double wanted = 1000.0 * (double)index + 100.0 * (double)(j / ROWS) +
                              (double)((j % ROWS) * COLUMNS + i);
        if (*cell != wanted) {
          fprintf(stderr, "step %d: %g is not %g\n", (int)index, *cell, wanted);
          MPI_Abort(MPI_COMM_WORLD, 1);
        }
      }
    ++seen;
    check(dvt_step_close(step));
  }
  check(status);
  check(dvt_reader_close(in, 0));
  printf("rank %d: steps %d\n", rank, (int)seen);
}

int main(int count, char** words) {
  MPI_Comm comm = MPI_COMM_WORLD;
  int number;
  dvt_ranks ranks = {0, 1, DVT_COMM_C, 0, &comm};
  dvt_writer* out;
  int rank, size;
  if (count != 4) return 2;
  /* Before MPI runs, a communicator is refused. */
  if (dvt_writer_open(words[2], DVT_LATEST, 1, &ranks, 1.0, 0, &out) != DVT_ARGUMENT) return 3;
  MPI_Init(NULL, NULL);
  MPI_Comm_rank(comm, &rank);
  MPI_Comm_size(comm, &size);
  if (strcmp(words[3], "fortran") == 0) {
#if MPI_VERSION >= 5
    number = MPI_Comm_toint(comm);
#else
    number = MPI_Comm_c2f(comm);
#endif
    ranks.comm_kind = DVT_COMM_FORTRAN;
    ranks.comm = &number;
  }
  if (strcmp(words[1], "write") == 0) {
    write_steps(words[2], &ranks, rank, size);
  } else if (strcmp(words[1], "read") == 0) {
    read_steps(words[2], &ranks, rank);
  } else {
    /* "refuse": what rank 0 cannot open, or what spans nodes, is an error on all. */
    const int status = dvt_writer_open(words[2], DVT_BUFFERED, 2, &ranks, 1.0, 0, &out);
    printf("rank %d: %s: %s\n", rank, dvt_status_name(status), dvt_last_error());
  }
  MPI_Finalize();
  return 0;
}
