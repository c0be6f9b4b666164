/* calls FUNCTION SETTINGS [FUNCTION SETTINGS ...]: calls each, and tells what came of it.
 * calls threads NUMBER TURNS: from as many threads, each as often.
 * calls fork: from a child of a process that has called. */
#define _GNU_SOURCE
#include <dovetail/python.h>
#include <fenv.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void tell(int status, const char* answer) {
  printf("%s: %s\n", dvt_status_name(status), status < 0 ? dvt_last_error() : answer);
  fflush(stdout);
}

static int turns;

static void* take_turns(void* number) {
  double own[5] = {0};
  const int64_t shape[] = {5};
  const dvt_array array = {
      .name = "own", .data = own, .dtype = DVT_FLOAT64, .rank = 1, .shape = shape};
  (void)number;
  for (int n = 0; n < turns; ++n) {
    const char* answer;
    if (dvt_python_call("functions:count", &array, 1, "{\"turns\": 1}", &answer) < 0) {
      tell(-1, NULL);
      abort();
    }
  }
  for (int i = 0; i < 5; ++i)
    if (own[i] != turns) abort();
  return NULL;
}

static int threads(int number) {
  pthread_t all[64];
  const char* answer;
  for (int i = 0; i < number; ++i) pthread_create(&all[i], NULL, take_turns, NULL);
  for (int i = 0; i < number; ++i) pthread_join(all[i], NULL);
  if (dvt_python_call("functions:how_many", NULL, 0, NULL, &answer) < 0) return 1;
  tell(DVT_OK, answer);
  return 0;
}

int main(int argc, char** argv) {
  double u[2][3] = {{1, 2, 3}, {4, 5, 6}};
  int16_t k[3][2] = {{0, 10}, {1, 11}, {2, 12}};
  const int64_t shape[] = {2, 3};
  const dvt_array arrays[] = {
      {.name = "u", .data = u, .dtype = DVT_FLOAT64, .rank = 2, .shape = shape},
      {.name = "k",
       .data = k,
       .dtype = DVT_INT16,
       .rank = 2,
       .shape = shape,
       .order = DVT_COLUMN_MAJOR}};
  if (strcmp(argv[1], "fork") == 0) {
    const char* answer;
    int ended;
    if (dvt_python_call("functions:nothing", NULL, 0, NULL, &answer) < 0) return 1;
    if (fork() == 0) {
      tell(dvt_python_call("functions:nothing", NULL, 0, NULL, &answer), "called");
      _exit(0);
    }
    return wait(&ended) < 0 || ended != 0;
  }
  if (strcmp(argv[1], "threads") == 0) {
    turns = atoi(argv[3]);
    return threads(atoi(argv[2]));
  }
  feenableexcept(FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW);
  for (int i = 1; i + 1 < argc; i += 2) {
    const char* answer = "";
    const int status = dvt_python_call(argv[i], arrays, 2, argv[i + 1], &answer);
    tell(status, answer);
  }
  if (fegetexcept() != (FE_INVALID | FE_DIVBYZERO | FE_OVERFLOW)) return 4;
  if (fetestexcept(FE_INVALID | FE_DIVBYZERO) != 0) return 5;
  printf("u %g %g, k %d\n", u[0][0], u[1][2], k[2][0]);
  return 0;
}
