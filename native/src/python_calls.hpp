// What runs inside the interpreter: from a request, as text, to a call of the user's function.
#pragma once

namespace dovetail {

// Defines call(request), which gives a word for the outcome, a line break, and the text to it. A
// request is JSON: {"function": "module:function", "settings": {}, "answered": true,
// "arrays": [{"name", "address", "dtype", "shape", "strides"}]}.
inline constexpr const char* python_calls = R"python(
import gc
import importlib
import json
import os
import sys
import traceback
import weakref


class Refused(Exception):
    """What is said without a traceback: nothing of the user's has run."""


class Memory:
    """The solver's memory behind one array. Everything that is made of the array keeps it alive."""


def view_of(array):
    import numpy

    dtype = array["dtype"]
    shape = tuple(array["shape"])
    if dtype == "bfloat16":
        import ml_dtypes

        dtype = ml_dtypes.bfloat16
    dtype = numpy.dtype(dtype)
    if 0 in shape:
        return numpy.empty(shape, dtype), None
    memory = Memory()
    memory.__array_interface__ = {
        "version": 3,
        "data": (array["address"], False),
        "shape": shape,
        "strides": tuple(array["strides"]),
        "typestr": dtype.str if dtype.kind != "V" else f"<u{dtype.itemsize}",
    }
    view = numpy.asarray(memory)
    return (view if view.dtype == dtype else view.view(dtype)), weakref.ref(memory)


def function_of(name):
    module, _, path = name.partition(":")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):
            raise
        raise Refused(
            f"there is no module {error.name!r}: {sys.executable} looks for modules in the working "
            f"directory ({os.getcwd()}), in PYTHONPATH and in its packages"
        ) from None
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise Refused(f"the module {module} has no function {path!r}") from None
    return found


def plain(value):
    """Numbers and arrays of NumPy and torch are numbers and lists in JSON."""
    if callable(getattr(value, "tolist", None)):
        return value.tolist()
    raise TypeError(f"a {type(value).__name__} is not JSON")


def sentence(error):
    try:
        return f"{type(error).__name__}: {error}"[:700] if str(error) else type(error).__name__
    except Exception:
        return type(error).__name__


def frames_of_the_user(frames):
    """Without those of this module and of the import system in front."""
    while frames is not None:
        file = frames.tb_frame.f_code.co_filename
        if file != "<dovetail>" and "importlib" not in file:
            break
        frames = frames.tb_next
    return frames


def end_of(text):
    """The innermost frames say most, and an error has room for 4 KiB."""
    encoded = text.encode("utf-8", "replace")
    return text if len(encoded) < 3000 else "…" + encoded[-3000:].decode("utf-8", "ignore")


def outcome_of(request, lent):
    arguments = dict(request["settings"])
    for array in request["arrays"]:
        try:
            arguments[array["name"]], lent[array["name"]] = view_of(array)
        except ImportError as error:
            return "unavailable", (
                f"{sys.executable} cannot import {error.name or 'numpy'}, which arrays for Python "
                f"take: install it there, or name another Python with DOVETAIL_PYTHON ({error})"
            )
        except Exception as error:
            return "failed", f"no view of {array['name']!r} was made: {sentence(error)}"
    try:
        returned = function_of(request["function"])(**arguments)
        if not request["answered"]:
            return "ok", ""
        try:
            return "ok", json.dumps(returned, default=plain, allow_nan=False)
        except (TypeError, ValueError) as error:
            return "failed", f"{request['function']} returned what is not JSON: {error}"
    except Refused as error:
        return "failed", str(error)
    except SystemExit as error:
        return "failed", f"{request['function']} called sys.exit({error.code!r})"
    except BaseException as error:
        error.__traceback__ = frames_of_the_user(error.__traceback__)
        lines = "".join(traceback.format_exception(error)).strip()
        return "failed", f"{request['function']} raised {sentence(error)}\n{end_of(lines)}"


def kept(lent):
    return [name for name, memory in lent.items() if memory is not None and memory() is not None]


def flush():
    # Nothing else would: the interpreter is never ended.
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass


def call(request):
    request = json.loads(request)
    lent = {}
    outcome, text = outcome_of(request, lent)
    flush()
    if kept(lent):
        gc.collect()  # a cycle, as of an exception and its frame, is no one's to keep
    names = kept(lent)
    if names and outcome == "ok":
        outcome = "failed"
        text = (
            f"{request['function']} kept {', '.join(map(repr, names))} beyond its call, and the "
            "memory is the solver's: keep a copy (u.copy(), tensor.clone()) instead"
        )
    return f"{outcome}\n{text}".encode("utf-8", "replace").decode()
)python";

}  // namespace dovetail
