"""The held-out simulation: what the closure is judged on and never learns from.

All figures are *a priori*: the subgrid forcing that a model gives for the exact filtered flow,
beside the exact forcing. How a large-eddy simulation fares with it is another question.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from baselines import EDDY_VISCOSITIES, correlation, fitted, gradient_model
from closure import Closure, resolved
from filtering import FilteredFlow
from reservoir import as_tensors
from spectral import PeriodicGrid
from torch import Tensor

import dovetail as dv


class HeldOut:
    """All samples of a stream, in memory.

    Parameters
    ----------
    url
        The stream; it is read to its end.
    timeout
        Seconds to wait for each sample.
    """

    def __init__(self, url: str, timeout: float) -> None:
        with dv.open_stream(url, "r") as stream:
            self.samples = []
            while (step := stream.next_step(timeout)) is not None:
                self.samples.append({name: np.array(step[name]) for name in step})
            self.statistics = stream.statistics()
        tensors = [as_tensors(sample) for sample in self.samples]
        self.gradients = torch.stack([gradients for gradients, _ in tensors])
        self.forcing = torch.stack([forcing for _, forcing in tensors])

    def predicted(self, closure: Closure) -> Tensor:
        """The closure's forcing of every sample, (n, 1, ny, nx)."""
        with torch.no_grad():
            return torch.cat([resolved(closure(part)) for part in self.gradients.split(8)])

    def score(self, predicted: np.ndarray) -> dict[str, object]:
        """How close a prediction of every sample, (n, 1, ny, nx), is to the exact forcing.

        ``correlation`` is over all points of all samples, ``by_sample`` over those of each.
        ``transfer`` is the enstrophy that the model takes from the resolved flow, mean(W Pi),
        over what the exact forcing takes.
        """
        exact = self.forcing.numpy()
        vorticity = self.gradients[:, :1].numpy()
        return {
            "correlation": correlation(predicted, exact),
            "by_sample": [correlation(p, e) for p, e in zip(predicted, exact, strict=True)],
            "transfer": float(np.mean(vorticity * predicted) / np.mean(vorticity * exact)),
        }


def compare(held_out: HeldOut, closure: Closure, delta: float, output: Path) -> dict[str, object]:
    """The closure beside the classical models: their scores and spectra.

    The fields of the last sample go into ``fields.npz`` in the folder `output`.
    """
    flows = [
        FilteredFlow(*(sample[name].astype(float) for name in FilteredFlow._fields))
        for sample in held_out.samples
    ]
    exact = held_out.forcing.numpy().astype(float)[:, 0]
    predictions = {
        "learned": held_out.predicted(closure).numpy().astype(float)[:, 0],
        "gradient model": np.stack([gradient_model(flow, delta) for flow in flows]),
    }
    for name, model in EDDY_VISCOSITIES.items():
        predictions[name] = fitted(np.stack([model(flow, delta) for flow in flows]), exact)
    np.savez(
        output / "fields.npz",
        unfiltered_vorticity=held_out.samples[-1]["unfiltered_vorticity"],
        vorticity=flows[-1].vorticity,
        exact=exact[-1],
        **{name.replace(" ", "_"): prediction[-1] for name, prediction in predictions.items()},
    )

    grid = PeriodicGrid(exact.shape[-1])
    fields = {"exact": exact, "learned": predictions["learned"]}
    for name, prediction in predictions.items():
        fields[f"error of {name}"] = prediction - exact
    return {
        "held_out_samples": len(flows),
        "models": {
            name: held_out.score(prediction[:, np.newaxis])
            for name, prediction in predictions.items()
        },
        "forcing_spectra": {
            name: np.mean([grid.spectrum(field) for field in series], axis=0).tolist()
            for name, series in fields.items()
        },
        "filtered_energy_spectrum": np.mean(
            [grid.energy_spectrum(flow.vorticity) for flow in flows], axis=0
        ).tolist(),
    }
