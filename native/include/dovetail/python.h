/* Dovetail for C: Python inside the solver.
 *
 *   double u[NY][NX];                                  # train.py, in the working directory
 *   const int64_t shape[] = {NY, NX};                  def improve(u, rate):
 *   const dvt_array field = {.name = "u", .data = u,       u += rate * model(u)  # the solver's u
 *       .dtype = DVT_FLOAT64, .rank = 2, .shape = shape};  return {"norm": float(abs(u).max())}
 *   const char* answer;
 *   dvt_python_call("train:improve", &field, 1, "{\"rate\": 0.5}", &answer);
 *
 * The interpreter is that of this process, if it runs one. Otherwise the Python in PATH (or
 * DOVETAIL_PYTHON) is started inside this process at the first call, with the packages that it has;
 * it takes its shared library, and NumPy. It runs until the process ends, and is never ended
 * before: what Python registers with atexit is not called. It does not survive fork(). This library
 * itself needs no Python.
 *
 * Calls may come from any thread; they take turns as threads of Python do. What dovetail.h says of
 * statuses and errors holds here. Only what would end any process ends this one: a function that
 * calls sys.exit() gives an error, one that calls os._exit() or damages memory does not. */
#ifndef DOVETAIL_PYTHON_H
#define DOVETAIL_PYTHON_H

#include <dovetail/dovetail.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Calls "module:function" with each array as a keyword argument of its name, and with each member
 * of `settings`, a JSON object as text or NULL, as another one. Modules are looked for in the
 * working directory, in PYTHONPATH, and where that Python has its packages; each is imported once.
 *
 * Arrays are views of the caller's memory, in logical order whatever their order in memory, and
 * writable: nothing is copied. They end with the call. A function that keeps one, or a slice or a
 * tensor of one, gets DVT_PYTHON_FAILED with its name when it returns, for the memory may be given
 * to something else: it has to keep a copy.
 *
 * `answer`, if it is not NULL, takes what the function returned, as JSON: "null" for None. Good
 * until this thread calls again. Without it what is returned is ignored.
 *
 * DVT_PYTHON_FAILED: there is no such module or function, or it raised; dvt_last_error() says in
 * its first line what, and the traceback follows. DVT_UNAVAILABLE: there is no Python, no shared
 * library of it, or no NumPy. DVT_ARGUMENT, DVT_UNSUPPORTED: an array or the settings are none. */
DVT_API int dvt_python_call(const char* function, const dvt_array* arrays, int count,
                            const char* settings, const char** answer);

#ifdef __cplusplus
}
#endif

#endif
