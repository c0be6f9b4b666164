"""Components of the workflows that are reported on."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

import dovetail as dv

STEPS = 12
CELLS = 1000
HOSTILE = '<script>alert("1")</script> & <b>'


def simulate() -> None:
    here = dv.this_component()
    with dv.open_stream("fields", "w", rank=here.rank, size=here.size) as out:
        for number in range(STEPS):
            field = np.full(CELLS, number, np.float64)
            start = here.rank * CELLS
            with out.step({"time": number}) as step:
                step.put("u", field, shape=(here.size * CELLS,), start=(start,))


def train() -> None:
    with dv.open_stream("fields", "r") as fields, dv.open_store("models") as models:
        for _ in fields:
            pass
        for loss in (0.1, 0.9, 0.2):
            dv.publish_model(models, "closure", {"w": np.ones(4)}, attrs={"loss": loss})
            models.put(f"taken/{loss}", 1)
            models.wait(f"seen/{loss}", timeout=60)
    dv.exhibit(HOSTILE, text=f"{HOSTILE}\n\nA second one.", table=([HOSTILE], [[HOSTILE], [2.5]]))
    dv.exhibit("Later", order=5, picture=_picture("drawing.svg"))


def follow() -> None:
    def gate(model: Any, attrs: Any) -> Any:
        return attrs["loss"] < 0.5

    with dv.open_store("models") as models:
        model = dv.FollowedModel(
            models, "closure", {"w": np.zeros(4)}, gate=gate, apply=lambda w, x: x * w["w"][0]
        )
        guard = dv.Guard(model, np.zeros_like, input_range=dv.InputRange([-1.0], [1.0]))
        guard(np.ones((1, 1)))
        for loss in (0.1, 0.9, 0.2):
            models.wait(f"taken/{loss}", timeout=60)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                model.refresh()
            guard(np.ones((1, 1)))
            guard(np.full((1, 1), 5.0))
            models.put(f"seen/{loss}", 1)


def fail_once() -> None:
    if dv.this_component().attempt == 0:
        os._exit(3)


def fail() -> None:
    print(HOSTILE)
    raise ValueError(HOSTILE)


def _picture(name: str) -> str:
    path = dv.this_component().checkpoints / name
    path.write_text('<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>')
    return str(path)
