"""What the solvers beside this file call."""

import sys
import threading

import numpy as np

KEPT = []
counted = 0
turn = threading.Lock()


def scale(u, k, by=2.0):
    """u is row-major, k column-major; both are indexed in logical order."""
    assert u.shape == k.shape == (2, 3)
    assert u.flags.c_contiguous
    assert k.flags.f_contiguous
    assert k.tolist() == [[0, 1, 2], [10, 11, 12]]
    u *= by
    k[0, 2] = 99
    return {"sum": u.sum(), "k": k, "type": k.dtype.name}


def nothing(**arrays):
    return None


def prefix(**_):
    return [sys.prefix, sys.argv, sys.executable]


def say(**_):
    print("said in Python")


def fail(u, **_):
    inner = {"u": u}
    raise ValueError(f"{len(inner)} bad array é")


def deep(levels=400, **_):
    return deep(levels - 1) if levels else 1 / 0


def leave(**_):
    sys.exit(3)


def interrupted(**_):
    raise KeyboardInterrupt


class UnspeakableError(Exception):
    def __str__(self):
        raise RuntimeError


def unspeakable(**_):
    raise UnspeakableError


def odd(**_):
    return {1, 2}


def not_a_number(**_):
    return float("nan")


def keep(u, **_):
    KEPT.append(u[1:])


def keep_in_a_cycle(u, **_):
    cycle = {"u": u}
    cycle["cycle"] = cycle


def keep_a_copy(u, **_):
    KEPT.append(u.copy())


def keep_a_tensor(u, **_):
    import torch

    KEPT.append(torch.from_numpy(u))


def divide(**_):
    with np.errstate(all="ignore"):
        return bool(np.isnan(np.zeros(1) / np.zeros(1))[0])


def count(own, turns=1):
    global counted
    own += 1
    with turn:
        counted += 1
    return threading.get_ident()


def how_many(**_):
    return counted


def stage(url, u, **_):
    import dovetail as dv

    with dv.open_store(url) as store:
        store.put("u", u)
        return store.get_array("u")
