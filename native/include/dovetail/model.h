/* Dovetail for C: a network in the time loop.
 *
 *   dvt_model_load ─ run … ─ dvt_model_close
 *   dvt_model_load ─ follow ─ refresh, run, refresh, run … ─ dvt_model_close
 *
 * A model is exported from PyTorch with dovetail.export_model, and compiled for this machine when
 * it is first loaded; no header of torch is needed to build, and libtorch is found at run time:
 * DOVETAIL_LIBTORCH names its folder, else the torch of the Python in PATH (or DOVETAIL_PYTHON) is
 * taken, which also compiles. What dovetail.h says of statuses, errors and handles holds here.
 *
 * Calls on one model take turns, and may come from any thread. The number of OpenMP threads that
 * the caller has set is the same after a call as before it. */
#ifndef DOVETAIL_MODEL_H
#define DOVETAIL_MODEL_H

#include <dovetail/dovetail.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct dvt_model dvt_model;

/* Who computes: this process, or one that the ranks of this node share. That is started by
 * whichever comes first, by the Python that compiles, and ends with the last; ranks whose path and
 * options are the same share one, or one for each GPU. Once it is gone calls give DVT_LOST; or this
 * process computes from then on, which is said once on the standard error. */
#define DVT_MODEL_SHARED 1
#define DVT_MODEL_SHARED_ELSE_IN_PROCESS 2

/* Set all that is not named to 0, which chooses the default. */
typedef struct dvt_model_options {
  const char* device; /* "cpu", "cuda", "cuda:1", "xpu"; NULL: a GPU where torch can use one */
  int32_t threads;    /* the most that a call may use; 0: this process's share of the processors,
                         beside the other ranks of the node */
  int32_t shared;     /* 0: in this process; or as above. */
  double timeout;     /* seconds that compiling may take, and of a shared model its start, and each
                         answer; 0: 600 */
  double gather;      /* read if shared: seconds that a call may wait for those of other ranks, to
                         be one with them; 0: 0.0002, below 0: each call is computed by itself */
} dvt_model_options;

/* Loads what dovetail.export_model wrote, a TorchScript file (legacy; its weights are not
 * replaced), or a folder that `dovetail model compile` made of either. Of ranks that start together
 * one compiles, and the others wait. `options` may be NULL. DVT_UNAVAILABLE if torch, a compiler or
 * the device is missing, or the process to share cannot be started; DVT_CORRUPT,
 * DVT_FORMAT_VERSION, DVT_MODEL_FAILED, DVT_TIMEOUT. */
DVT_API int dvt_model_load(const char* path, const dvt_model_options* options, dvt_model** model);
DVT_API int dvt_model_close(dvt_model* model);

DVT_API int dvt_model_count(dvt_model* model, int* inputs, int* outputs);
/* Name, dtype and shape; an extent that varies is -1, and there is no data. TorchScript does not
 * say dtype and shape: they are 0, and a rank of -1. */
DVT_API int dvt_model_input(dvt_model* model, int index, dvt_array* array);
DVT_API int dvt_model_output(dvt_model* model, int index, dvt_array* array);

/* Calls the model. Inputs are not copied, or once if it is shared; outputs are copied once, into
 * `data` of the arrays given for them, which have the outputs' shape. In their order; names need
 * not be given. Arrays have no gaps. A column-major array is taken with its axes reversed: x(8, n)
 * of Fortran is the (n, 8) of the module. DVT_ARGUMENT names the array that does not fit; nothing
 * is written then. DVT_FALL_BACK, which is no error: the guard does not trust the model, nothing
 * was written, and the physics is to answer. */
#define DVT_FALL_BACK 2
DVT_API int dvt_model_run(dvt_model* model, const dvt_array* inputs, int input_count,
                          const dvt_array* outputs, int output_count);

/* From now on, trust the model only where each channel of the first input lies within its bounds,
 * and where all outputs are finite. Channels are counted along `axis` (-1: the last); `count` 0
 * looks at outputs alone. The bounds that were published with a version come with it, instead. */
DVT_API int dvt_model_guard(dvt_model* model, const double* lower, const double* upper, int count,
                            int axis);

/* Follow the weights that are published in a store under a name (dovetail.publish_model). The store
 * may be closed then. */
DVT_API int dvt_model_follow(dvt_model* model, dvt_store* store, const char* name);
/* Between steps: takes a newer version, if there is one, whole or not at all; `taken` becomes 1 or
 * 0. Weights that do not fit or are not finite, DVT_ARGUMENT or DVT_CORRUPT, are said once; the
 * version in force stays. Costs 1 us where there is nothing new. */
DVT_API int dvt_model_refresh(dvt_model* model, int* taken);

typedef struct dvt_model_statistics {
  int64_t calls, fallbacks;         /* fallbacks are calls that gave DVT_FALL_BACK */
  int64_t out_of_range, non_finite; /* fallbacks by their reason */
  int64_t version, taken, refused;  /* the version in force, 0 as loaded; refreshes */
  double seconds;                   /* in dvt_model_run */
} dvt_model_statistics;
DVT_API int dvt_model_get_statistics(dvt_model* model, dvt_model_statistics* statistics);

#ifdef __cplusplus
}
#endif

#endif
