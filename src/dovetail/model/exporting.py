"""A trainer's part: write a model so that any machine can compile it for itself."""

from __future__ import annotations

import copy
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

from dovetail.errors import ModelFailedError
from dovetail.model.specification import described


def export_model(
    module: Any,
    example_inputs: Any,
    path: str | os.PathLike[str],
    *,
    batch: bool = True,
    dynamic_shapes: Any = None,
) -> Path:
    """Write the portable form of a model, to be loaded with :func:`~dovetail.load_model`.

    Parameters
    ----------
    module
        A ``torch.nn.Module``. It is exported in evaluation mode, on the CPU, from a copy.
    example_inputs
        A tensor or array, or a tuple of several: what the module is called with. Their dtypes,
        and the extents that do not vary, become part of the model.
    path
        Of the file, ``*.pt2``. It appears whole or not at all.
    batch
        Whether axis 0 of all inputs may have any length from 1 on, the same in all.
    dynamic_shapes
        Which extents vary, in the words of ``torch.export.export``, in place of `batch`.

    Returns
    -------
    pathlib.Path
        Of the file.

    Raises
    ------
    ModelFailedError
        If ``torch.export`` cannot follow what the module does; the message ends with its reason.
    UnsupportedDataError
        If it takes or gives what is no tensor.

    Notes
    -----
    What is written is ``torch.export``'s own format: the graph and the weights, no Python code.
    """
    import torch

    inputs = tuple(
        torch.as_tensor(one).detach().cpu()
        for one in (
            example_inputs if isinstance(example_inputs, tuple | list) else (example_inputs,)
        )
    )
    if dynamic_shapes is None and batch:
        if any(one.ndim == 0 for one in inputs):
            raise ValueError("an example input without axes has no batch: pass batch=False")
        dynamic_shapes, inputs = _with_batch(torch, inputs)
    exported = copy.deepcopy(module).cpu().eval()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, about its own insides
            program = torch.export.export(exported, inputs, dynamic_shapes=dynamic_shapes)
    except Exception as error:
        raise ModelFailedError(f"the module cannot be exported: {error}") from error
    described(program)
    return _written(torch, program, Path(path))


def _with_batch(torch: Any, inputs: tuple[Any, ...]) -> tuple[Any, tuple[Any, ...]]:
    lengths = {len(one) for one in inputs}
    if len(lengths) > 1 or 0 in lengths:
        raise ValueError(
            f"axis 0 of the example inputs is the batch, and has the lengths {sorted(lengths)}: "
            f"make it one and the same, at least 1, or pass dynamic_shapes="
        )
    # From an example of 1, torch concludes that it is always 1.
    if lengths == {1}:
        inputs = tuple(torch.cat([one, one]) for one in inputs)
    extent = torch.export.Dim("batch", min=1)
    return tuple({0: extent} for _ in inputs), inputs


def _written(torch: Any, program: Any, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as folder:
        made = Path(folder) / path.with_suffix(".pt2").name
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.export.save(program, made)
        made.replace(path)
    return path
