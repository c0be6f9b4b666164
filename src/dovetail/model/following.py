"""A simulation's part: a model that can be replaced by a newer version between two steps."""

from __future__ import annotations

import threading
import time
import warnings
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from dovetail import observe
from dovetail.data import Dataset
from dovetail.errors import (
    CorruptDataError,
    EngineUnavailableError,
    ModelNotReadyError,
    TransportTimeoutError,
)
from dovetail.model.agreement import agreement_of
from dovetail.model.fetching import fetch_from
from dovetail.model.gate import Gate, objection
from dovetail.model.layout import Heading, heading_of, key_of
from dovetail.model.ranges import InputRange
from dovetail.model.weights import difference, form_of
from dovetail.transport import Store


class Refusal(NamedTuple):
    """A published version that was not put in force."""

    version: int | None
    """``None`` where it could not be read."""
    reason: str
    """``layout``, ``non-finite``, ``gate``, ``corrupt``, ``stale`` or ``unreachable``."""
    detail: str
    """The whole sentence."""


class FollowStatistics(NamedTuple):
    """What the refreshes of a followed model came to."""

    refreshes: int
    """Calls of ``refresh``."""
    taken: int
    """Versions that were put in force."""
    refused: int
    """Versions that were not, and times that the store was out of reach."""
    refused_by_reason: dict[str, int]
    """The same, by :attr:`Refusal.reason`."""
    late: int
    """Refreshes that gave up at their deadline."""
    seconds_in_refresh: float
    """Time spent in ``refresh``, the gate included."""


@dataclass(frozen=True, slots=True, weakref_slot=True)
class _InForce:
    """One version of the model. A call holds on to it, so that its weights stay until it ends."""

    apply: Callable[..., Any]
    model: Any
    version: int
    attrs: Mapping[str, Any]
    published: float | None
    input_range: InputRange | None

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self.apply(self.model, *args, **named)


class FollowedModel:
    """A model whose weights follow what is published under its name.

    ::

        model = dv.FollowedModel(store, "closure", Closure(), gate=gate)
        for step in range(steps):
            model.refresh()                # between steps: a newer version is taken here, or never
            forcing = model(gradients)

    Parameters
    ----------
    store
        Where the model is published. It stays open as long as the model is refreshed.
    name
        Of the model, as its publisher calls it.
    model
        What the weights are put into: a ``torch.nn.Module``, a model that
        :func:`~dovetail.load_model` compiled, or a mapping of names to arrays. It is copied, never
        changed; copies of a module are in evaluation mode, and their weights carry no gradient;
        copies of a compiled model share its code.
    gate
        ``gate(candidate, attrs)`` sees a version before it is put in force: see
        :class:`~dovetail.ValidationGate`. Wrong names, shapes and dtypes and non-finite weights
        are refused in any case.
    apply
        ``apply(model, *args)`` says how the model is called; by default ``model(*args)``.
    use_initial
        Whether the weights that `model` comes with may be used before the first version is taken.
        They count as version 0.
    deadline
        The longest that a refresh waits for a store across a network, in seconds.
    comm
        An MPI communicator whose ranks all follow the model: :meth:`refresh` is then collective,
        and all ranks take the same version at the same time, or none does.

    Notes
    -----
    A refresh that finds nothing new costs one look at the version of the value. One that finds a
    version reads it, fills a *second* copy of the model, shows that to the gate, and then swaps the
    two. Whatever goes wrong on the way, the version in force stays as it is. What is refused is
    counted, named in :attr:`last_refusal`, said by a :class:`RuntimeWarning`, and not looked at
    again.

    A store in shared memory that was destroyed stays so for those who have it open, also when
    another of its name is begun: open it, and follow the model, anew.

    One thread refreshes; others may call the model meanwhile. A call keeps the version that it
    began with.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        model: Any,
        *,
        gate: Gate | None = None,
        apply: Callable[..., Any] | None = None,
        use_initial: bool = False,
        deadline: float = 1.0,
        comm: Any = None,
    ) -> None:
        self.name = name
        self._store = store
        self._form = form_of(model)
        self._gate = gate
        self._apply = apply or _call
        self._use_initial = use_initial
        self._fetch = fetch_from(store, key_of(name), deadline)
        self._agreement = agreement_of(comm)
        self._in_force = _InForce(self._apply, self._form.first(), 0, {}, None, None)
        self._spare: tuple[weakref.ref[_InForce] | None, Any] = None, None
        self._fault: Refusal | None = None
        self._seen: str | None = None
        self._refreshing = threading.Lock()
        self._refused: Counter[str] = Counter()
        self._refreshes = self._taken = self._late = 0
        self._seconds = 0.0
        self.last_refusal: Refusal | None = None
        """The last version that was refused, and why."""

    def __call__(self, *args: Any, **named: Any) -> Any:
        """Call the version in force.

        Raises
        ------
        ModelNotReadyError
            If no version has been taken yet.
        """
        return self.pinned()(*args, **named)

    def pinned(self) -> Callable[..., Any]:
        """The version in force, to be called as that, whatever is refreshed meanwhile.

        For several calls that must agree while another thread refreshes. It has the attributes
        ``version``, ``attrs`` and ``input_range``. Its weights stay as long as it is held.

        Raises
        ------
        ModelNotReadyError
            If no version has been taken yet.
        """
        in_force = self._in_force
        if not in_force.version and not self._use_initial:
            raise ModelNotReadyError(
                f"no version of the model {self.name!r} is in force yet: call refresh() until "
                f"ready, or wait(timeout); or let a Guard fall back to the physics meanwhile"
            )
        return in_force

    def refresh(self) -> bool:
        """Take a newer version, if there is one that passes.

        Returns
        -------
        bool
            True if another version is in force now.

        Raises
        ------
        TransportClosedError
            If the store was closed.
        """
        if not self._refreshing.acquire(blocking=False):
            return False
        begun = time.perf_counter()
        try:
            self._refreshes += 1
            return self._refresh()
        finally:
            self._seconds += time.perf_counter() - begun
            self._refreshing.release()

    def wait(self, timeout: float | None) -> int:
        """Refresh until a version is in force; return it at once if there is one.

        Parameters
        ----------
        timeout
            Seconds; ``None`` waits for ever.

        Raises
        ------
        TransportTimeoutError
            The message says what was refused meanwhile.
        """
        deadline = float("inf") if timeout is None else time.monotonic() + timeout
        while not self.refresh() and not self.version:
            left = deadline - time.monotonic()
            if not self._agreement.led(left > 0):
                refused = f"; refused: {self.last_refusal.detail}" if self.last_refusal else ""
                raise TransportTimeoutError(
                    f"no version of the model {self.name!r} was taken in {timeout} s{refused}"
                )
            self._await_change(min(left, 1.0))
        return self.version

    @property
    def ready(self) -> bool:
        """Whether it can be called."""
        return self._use_initial or self._in_force.version > 0

    @property
    def version(self) -> int:
        """The version in force; 0 before the first."""
        return self._in_force.version

    @property
    def attrs(self) -> Mapping[str, Any]:
        """What the publisher said of the version in force."""
        return self._in_force.attrs

    @property
    def published(self) -> float | None:
        """When the version in force was published, in seconds since the epoch."""
        return self._in_force.published

    @property
    def input_range(self) -> InputRange | None:
        """The range of inputs that the version in force was trained on, if it was published."""
        return self._in_force.input_range

    @property
    def model(self) -> Any:
        """The module or mapping in force. Its weights are overwritten two versions later."""
        return self._in_force.model

    def statistics(self) -> FollowStatistics:
        """What the refreshes came to."""
        return FollowStatistics(
            self._refreshes,
            self._taken,
            self._refused.total(),
            dict(self._refused),
            self._late,
            self._seconds,
        )

    def _refresh(self) -> bool:
        value = self._agreement.newest(self._newer)
        if value is None:
            return False
        started = time.time_ns()
        self._seen = value.version
        prepared = self._prepared(value)
        own = prepared if isinstance(prepared, Refusal) else None
        refusal = self._agreement.first(own)
        if refusal is not None or isinstance(prepared, Refusal):
            if refusal is not None:
                self._refuse(refusal)
            return False
        retiring, self._in_force = self._in_force, prepared
        self._spare = weakref.ref(retiring), retiring.model
        self._taken += 1
        if observe.recording:
            name = f"{self.name}@{prepared.version}"
            observe.record(observe.TAKE_MODEL, name, started, time.time_ns(), value.nbytes, 0)
        return True

    def _newer(self) -> Dataset | None:
        found = self._fetch(self._seen)
        self._late += found.late
        if found.error is not None:
            fault = _fault_of(found.error)
            if not _is_same(fault, self._fault):  # one outage is said once
                self._refuse(fault)
            self._fault = fault
        elif not found.late:
            self._fault = None
        return found.value

    def _prepared(self, value: Dataset) -> _InForce | Refusal:
        """A version ready to be put in force, or why it cannot be."""
        try:
            heading = heading_of(value)
        except (ValueError, CorruptDataError) as error:
            return Refusal(None, "layout", str(error))
        refuse = partial(Refusal, heading.version)
        if self._is_stale(heading):
            return refuse("stale", f"version {self.version} is in force and newer")
        found = {
            name: (variable.shape, variable.dtype) for name, variable in value.variables.items()
        }
        wrong = difference(self._form.layout, found)
        if wrong is not None:
            return refuse("layout", wrong)
        for name in found:
            if name not in self._form.boundless and not np.isfinite(value[name]).all():
                return refuse("non-finite", f"{name} holds values that are not finite")
        try:
            model = self._form.filled(value, self._unused())
        except Exception as error:  # a module's own way to load may refuse what looks right
            return refuse("layout", f"{type(error).__name__}: {error}")
        self._spare = None, model
        if self._gate is not None:
            why = objection(self._gate, partial(self._apply, model), heading.attrs)
            if why is not None:
                return refuse("gate", why)
        version, published, attrs, input_range = heading
        return _InForce(self._apply, model, version, attrs, published, input_range)

    def _is_stale(self, heading: Heading) -> bool:
        """A publisher that was held up while another overtook it; not a store begun anew."""
        in_force = self._in_force
        return heading.version < in_force.version and heading.published < (in_force.published or 0)

    def _unused(self) -> Any:
        """A copy of the model that no call uses any more, to be written over, if there is one."""
        (last_use, model), self._spare = self._spare, (None, None)
        return model if last_use is None or last_use() is None else None

    def _refuse(self, refusal: Refusal) -> None:
        self.last_refusal = refusal
        self._refused[refusal.reason] += 1
        which = "a version" if refusal.version is None else f"version {refusal.version}"
        if observe.recording:
            now, version = time.time_ns(), refusal.version
            name = f"{self.name}@{'?' if version is None else version}: {refusal.reason}"
            observe.record(observe.REFUSE_MODEL, name, now, now, 0, 0)
        warnings.warn(
            f"{which} of the model {self.name!r} is not taken ({refusal.reason}): "
            f"{refusal.detail}; version {self.version} stays in force",
            RuntimeWarning,
            stacklevel=4,
        )

    def _await_change(self, seconds: float) -> None:
        if not self._agreement.leads:
            return
        try:
            self._store.wait(key_of(self.name), seconds, newer_than=self._seen)
        except TransportTimeoutError:
            pass
        except (OSError, CorruptDataError):
            time.sleep(min(seconds, 0.05))  # until the store is there again, or the value sound

    def __repr__(self) -> str:
        return f"<FollowedModel {self.name!r}, version {self.version}>"


def _call(model: Any, *args: Any, **named: Any) -> Any:
    if not callable(model):
        raise TypeError(
            f"a {type(model).__name__} cannot be called: pass "
            f"FollowedModel(…, apply=lambda weights, inputs: …)"
        )
    return model(*args, **named)


def _is_same(fault: Refusal, before: Refusal | None) -> bool:
    """Whether a fault goes on. What is said of a store out of reach may change meanwhile."""
    if before is None or fault.reason != before.reason:
        return False
    return fault.reason == "unreachable" or fault.detail == before.detail


def _fault_of(error: Exception) -> Refusal:
    """A fault of the value or of the way to it. Raises `error` if it is the caller's."""
    if isinstance(error, CorruptDataError):
        return Refusal(None, "corrupt", str(error))
    if isinstance(error, OSError | EngineUnavailableError):
        return Refusal(None, "unreachable", str(error))
    raise error
