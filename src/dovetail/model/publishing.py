"""A trainer's part: put a version of a model into a store."""

from __future__ import annotations

import time
from typing import Any

from dovetail import observe
from dovetail.data import Attributes
from dovetail.model.layout import (
    INPUT_RANGE,
    PUBLISHED,
    RESERVED,
    VERSION,
    input_range_as_json,
    key_of,
    versions_of,
)
from dovetail.model.ranges import InputRange
from dovetail.model.weights import weights_of
from dovetail.transport import Store


def publish_model(
    store: Store,
    name: str,
    model: Any,
    attrs: Attributes | None = None,
    *,
    input_range: InputRange | None = None,
) -> int:
    """Publish the weights of a model as its next version, atomically.

    Parameters
    ----------
    store
        Where those who follow the model look.
    name
        Of the model; it is stored under the key ``models/<name>``.
    model
        A ``torch.nn.Module`` (inside DistributedDataParallel or torch.compile as well) or a
        mapping of names to arrays or tensors. Its state is copied once, into the store; what lies
        on a device goes through the host.
    attrs
        JSON values that travel with the weights: metrics, the training step …
    input_range
        The range of inputs it was trained on; a :class:`~dovetail.Guard` keeps to it.

    Returns
    -------
    int
        The version: 1, 2, 3 … It rises through restarts of the publisher, and no two publishers
        get the same. One that died between counting and publishing leaves a number unused.

    Raises
    ------
    UnsupportedDataError
        If the model has no weights, or weights that are no arrays.
    ValueError
        If a weight or attribute has a name that begins with ``dovetail.``.
    StoreFullError
        What was published before stays.

    Notes
    -----
    Call it between optimizer steps, and on one rank of a distributed trainer: it takes the weights
    as they are.

    Examples
    --------
    >>> import numpy as np
    >>> import dovetail as dv
    >>> with dv.open_store("shm://publish-example") as store:
    ...     weights = {"a": np.ones(3), "b": np.zeros(())}
    ...     dv.publish_model(store, "closure", weights, attrs={"loss": 0.25})
    ...     store.get("models/closure").attrs["loss"]
    ...     store.destroy()
    1
    0.25
    """
    started = time.time_ns()
    arrays = weights_of(model)
    attributes = dict(attrs or {})
    for taken in (*arrays, *attributes):
        if str(taken).startswith(RESERVED):
            raise ValueError(f"the name {taken!r} is reserved: choose one without {RESERVED!r}")
    nbytes = sum(array.nbytes for array in arrays.values())
    if input_range is not None:
        attributes[INPUT_RANGE] = input_range_as_json(input_range)
    published = time.time()
    version = store.append(versions_of(name), repr(published)) + 1
    store.put(key_of(name), arrays, attributes | {VERSION: version, PUBLISHED: published})
    if observe.recording:
        observe.record(
            observe.PUBLISH_MODEL, f"{name}@{version}", started, time.time_ns(), nbytes, 0
        )
    return version
