/* A tiny solver in C: heat spreads over a plate, and a trainer watches.
 *
 *   cc solver.c -o solver $(pkg-config --cflags --libs dovetail)
 *   DOVETAIL_STREAM_FIELDS=shm://plate ./solver
 */
#include <dovetail/dovetail.h>
#include <stdio.h>
#include <stdlib.h>

enum { NX = 32, NY = 32, STEPS = 50 };
static const double DIFFUSIVITY = 0.1;

/* Every call returns a status; what is negative is an error, and there is a sentence for it. */
static void check(int status) {
  if (status >= 0) return;
  fprintf(stderr, "solver: %s\n", dvt_last_error());
  exit(1);
}

/* How much the heat of each cell changes in one step. The edge is kept at 0. */
static void advance(double u[NY][NX], double change[NY][NX]) {
  for (int j = 1; j < NY - 1; ++j)
    for (int i = 1; i < NX - 1; ++i)
      change[j][i] =
          DIFFUSIVITY * (u[j][i - 1] + u[j][i + 1] + u[j - 1][i] + u[j + 1][i] - 4 * u[j][i]);
  for (int j = 1; j < NY - 1; ++j)
    for (int i = 1; i < NX - 1; ++i) u[j][i] += change[j][i];
}

int main(void) {
  static double u[NY][NX], before[NY][NX], change[NY][NX];
  const int64_t shape[] = {NY, NX};
  const dvt_array fields[] = {
      {.name = "u", .data = before, .dtype = DVT_FLOAT64, .rank = 2, .shape = shape},
      {.name = "change", .data = change, .dtype = DVT_FLOAT64, .rank = 2, .shape = shape},
  };
  dvt_writer* out;

  u[NY / 2][NX / 3] = 1.0;

  /* Up to 4 steps may wait for the trainer; we wait for it for up to 60 s. */
  check(dvt_writer_open("fields", DVT_BUFFERED, 4, NULL, 60.0, 0, &out));
  for (int n = 0; n < STEPS; ++n) {
    char attrs[64];
    for (int j = 0; j < NY; ++j)
      for (int i = 0; i < NX; ++i) before[j][i] = u[j][i];
    advance(u, change);

    snprintf(attrs, sizeof attrs, "{\"step\": %d}", n);
    check(dvt_writer_begin(out, attrs, NULL));
    check(dvt_writer_put(out, &fields[0]));
    check(dvt_writer_put(out, &fields[1]));
    check(dvt_writer_end(out, 0));
  }
  check(dvt_writer_close(out, 0));
  printf("solver: %d steps\n", STEPS);
  return 0;
}
