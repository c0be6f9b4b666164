"""Steps as they are read from ADIOS2 variables: whole or in selections, when asked for."""

from __future__ import annotations

from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dovetail.data import Dataset
from dovetail.data.layout import Variable
from dovetail.errors import KeyNotFoundError
from dovetail.transport.assembly import Block, GlobalArray, array_of, parts_of, selection_in
from dovetail.transport.contract import Shape
from dovetail.transport.engines.adios.layout import (
    ATTRIBUTES,
    OF_ADIOS,
    STEP,
    Extents,
    read_attributes,
    read_description,
    stored_dtype,
    variable_of,
)
from dovetail.transport.engines.adios.library import Opened


class Place(NamedTuple):
    """Where a block of an array is to be fetched."""

    stream: int
    """Which of the streams of blocks: one for each writer rank that wrote by itself."""
    name: str
    """The name of its variable in ADIOS2."""
    number: int | None
    """Of a *local* array, which has no global shape: which of its blocks this is."""


@dataclass(frozen=True, slots=True)
class StreamStep:
    """What one stream of blocks holds of a step."""

    index: int
    time: float
    attrs: dict[str, Any]
    blocks: dict[str, list[Block]]
    """Under the name of each array. The memory of a block is its :class:`Place`."""


class Fetching(Protocol):
    """What brings parts of the blocks of one step."""

    def fetch(self, block: Block, first: Extents, out: NDArray[Any]) -> None:
        """Ask for a part of a block, as :meth:`VariableReader.fetch` does."""
        ...

    def perform(self) -> None:
        """Bring what was asked for."""
        ...


class VariableReader:
    """Reads the step at which one ADIOS2 engine stands."""

    def __init__(self, opened: Opened, stream: int = 0) -> None:
        self._adios, self._io, self._engine, self._library = opened
        self._stream = stream

    def describe(self) -> StreamStep:
        """What the step holds.

        Raises
        ------
        CorruptDataError
            If the description of a step of ours cannot be understood.
        """
        text = self.text(STEP)
        if text is None:
            return self._foreign()
        step = read_description(text)
        blocks: dict[str, list[Block]] = {}
        for arrays in step.ranks:
            for name, (variable, stored) in arrays.items():
                block = Block(variable, Place(self._stream, stored, None), variable.start or ())
                blocks.setdefault(name, []).append(block)
        attrs = read_attributes(self.text(ATTRIBUTES) or "{}")
        return StreamStep(step.index, step.time, attrs, blocks)

    def fetch(self, block: Block, first: Extents, out: NDArray[Any]) -> None:
        """Ask for a part of a block; :meth:`perform` brings all that was asked for.

        Parameters
        ----------
        first
            Where the part begins in the block, in logical order.
        out
            A contiguous array, in the order of the block's variable, of the shape of the part.
        """
        if out.size == 0:
            return
        variable = self._io.InquireVariable(block.memory.name)
        if block.memory.number is not None:
            variable.SetBlockSelection(block.memory.number)
            begin = list(first)
        else:
            origin = block.variable.start or (0,) * len(first)
            begin = [a + b for a, b in zip(first, origin, strict=True)]
        count = list(out.shape)
        if block.variable.order == "F":
            out, begin, count = out.T, begin[::-1], count[::-1]
        if count:
            variable.SetSelection([begin, count])
        bits = out.view(stored_dtype(out.dtype))
        self._engine.Get(variable, bits, self._library.Mode.Deferred)

    def perform(self) -> None:
        """Bring what was asked for."""
        self._engine.PerformGets()

    def fetch_all(self, variables: Mapping[str, Variable], memory: Any) -> None:
        """Bring the blocks of a step of ours to where `variables` lie in `memory`."""
        blocks = self.describe().blocks
        for name, variable in variables.items():
            if variable.nbytes:
                self.fetch(blocks[name][0], (0,) * len(variable.shape), variable.view(memory))
        self.perform()

    def text(self, name: str) -> str | None:
        """The string variable of a name; None if the step has none."""
        variable = self._io.InquireVariable(name)
        if not variable or variable.Type() != "string":
            return None
        return str(self._engine.Get(variable, self._library.Mode.Sync))

    # --- what other programs wrote ----------------------------------------------------------

    def _foreign(self) -> StreamStep:
        attrs = {name: self._attribute(name) for name in self._io.AvailableAttributes()}
        blocks: dict[str, list[Block]] = {}
        for name in self._io.AvailableVariables():
            variable = self._io.InquireVariable(name)
            kind = variable.Type()
            if kind == "string":
                attrs[name] = self.text(name)
            elif kind in OF_ADIOS:
                blocks[name] = self._foreign_blocks(name, variable, OF_ADIOS[kind])
        return StreamStep(self._engine.CurrentStep(), 0.0, attrs, blocks)

    def _foreign_blocks(self, name: str, variable: Any, dtype: np.dtype[Any]) -> list[Block]:
        shapes = self._library.ShapeID
        kind = variable.ShapeID()
        if kind == shapes.GlobalValue:
            return [Block(variable_of(name, dtype, ()), Place(self._stream, name, None), ())]
        found = self._engine.BlocksInfo(name, self._engine.CurrentStep())
        if kind == shapes.LocalArray:
            return [
                Block(
                    variable_of(name, dtype, _extents(about["Count"])),
                    Place(self._stream, name, number),
                    (),
                )
                for number, about in enumerate(found)
            ]
        whole = tuple(variable.Shape())
        if kind == shapes.LocalValue or not found:
            return [Block(variable_of(name, dtype, whole), Place(self._stream, name, None), ())]
        return [
            Block(
                variable_of(name, dtype, _extents(about["Count"]), "C", whole, start),
                Place(self._stream, name, None),
                start,
            )
            for about in found
            for start in [_extents(about["Start"])]
        ]

    def _attribute(self, name: str) -> Any:
        attribute = self._io.InquireAttribute(name)
        if attribute.Type() == "string":
            texts = list(attribute.DataString())
            return texts[0] if attribute.SingleValue() else texts
        numbers = attribute.Data().tolist()
        if isinstance(numbers, list) and attribute.SingleValue():
            return numbers[0]
        return numbers


def _extents(text: str) -> Extents:
    return tuple(int(part) for part in text.split(",") if part)


class AdiosReadStep(Mapping[str, NDArray[Any]]):
    """A complete step. Its arrays are fetched when they are asked for, and kept.

    Parameters
    ----------
    streams
        What each stream of blocks holds of the step, in rank order.
    readers
        Gives the readers of these streams, all standing at this step.
    end
        Called when the step is ended, if it is not ended by asking for the next one.
    """

    def __init__(
        self,
        index: int,
        streams: Sequence[StreamStep],
        readers: Callable[[], Sequence[Fetching]],
        end: Callable[[], None] | None = None,
    ) -> None:
        self._index = index
        self._streams = streams
        self._readers = readers
        self._end = end
        self._fetched: dict[str, NDArray[Any]] = {}
        self._arrays: dict[str, GlobalArray] | None = None

    @property
    def index(self) -> int:
        return self._index

    @property
    def time(self) -> float:
        return max(stream.time for stream in self._streams)

    @property
    def attrs(self) -> dict[str, Any]:
        merged: dict[str, Any] = {}
        for stream in reversed(self._streams):
            merged |= stream.attrs
        return merged

    @property
    def arrays(self) -> dict[str, GlobalArray]:
        """The global arrays, and the blocks that they lie in."""
        if self._arrays is None:
            gathered: dict[str, list[Block]] = {}
            for stream in self._streams:
                for name, blocks in stream.blocks.items():
                    gathered.setdefault(name, []).extend(blocks)
            self._arrays = {name: array_of(blocks) for name, blocks in gathered.items()}
        return self._arrays

    @property
    def nbytes(self) -> int:
        """Bytes of all blocks."""
        return sum(
            block.variable.nbytes
            for stream in self._streams
            for blocks in stream.blocks.values()
            for block in blocks
        )

    def fetch(self, names: Iterable[str]) -> None:
        """Fetch several whole arrays at once."""
        wanted = {
            name: self._selection(name, (0,) * len(array.shape), array.shape)
            for name in names
            if name not in self._fetched
            for array in [self._array(name)]
        }
        self._fetched |= self._perform(wanted)

    def read(self, name: str, start: Shape, count: Shape) -> NDArray[Any]:
        array = self._array(name)
        first, extent = selection_in(name, array.shape, start, count)
        whole = self._fetched.get(name)
        if whole is not None:
            return whole[_window(first, extent)]
        return self._perform({name: self._selection(name, first, extent)})[name]

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._fetched:
            self.fetch([name])
        return self._fetched[name]

    def _array(self, name: str) -> GlobalArray:
        array = self.arrays.get(name)
        if array is None:
            raise KeyNotFoundError(
                f"step {self._index} has no array {name!r}; there are {', '.join(self) or 'none'}"
            )
        return array

    def _selection(self, name: str, first: Extents, extent: Extents) -> _Selection:
        """What has to be fetched for a selection: checked before anything is asked for."""
        array = self._array(name)
        layout = tuple((block.start, block.variable.shape) for block in array.blocks)
        parts = parts_of(name, layout, first, extent)
        order: Any = "C"
        if len(parts) == 1:
            order = array.blocks[parts[0].block].variable.order
        elif len(array.blocks) == 1:
            order = array.blocks[0].variable.order
        whole = np.empty(extent, array.dtype, order=order)
        wanted = []
        for part in parts:
            block = array.blocks[part.block]
            window: Any = (..., *part.target)  # an array, even without axes
            target = whole[window]
            fits = (
                target.flags.c_contiguous
                if block.variable.order == "C"
                else (target.flags.f_contiguous)
            )
            room = target if fits else np.empty(target.shape, target.dtype, block.variable.order)
            begin = tuple(window.start for window in part.source)
            wanted.append(_Wanted(block, begin, room, None if fits else target))
        return _Selection(whole, wanted)

    def _perform(self, selections: Mapping[str, _Selection]) -> dict[str, NDArray[Any]]:
        wanted = [part for selection in selections.values() for part in selection.parts]
        if wanted:
            readers = self._readers()
            for part in wanted:
                readers[part.block.memory.stream].fetch(part.block, part.begin, part.room)
            for stream in {part.block.memory.stream for part in wanted}:
                readers[stream].perform()
        for part in wanted:
            if part.target is not None:
                part.target[...] = part.room
        for selection in selections.values():
            selection.whole.flags.writeable = False
        return {name: selection.whole for name, selection in selections.items()}

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def __contains__(self, name: object) -> bool:
        return name in self.arrays

    def keys(self) -> KeysView[str]:
        return KeysView(self)

    def items(self) -> ItemsView[str, NDArray[Any]]:
        self.fetch(self)
        return ItemsView(self)

    def dataset(self) -> Dataset:
        return Dataset(dict(self.items()), self.attrs)

    def torch(self, name: str) -> Any:
        return Dataset({name: self[name]}).torch(name)

    def end(self) -> None:
        end, self._end = self._end, None
        if end is not None:
            end()

    def __repr__(self) -> str:
        arrays = ", ".join(
            f"{name}: {array.dtype}{list(array.shape)}" for name, array in self.arrays.items()
        )
        return f"<step {self._index} {{{arrays}}} attrs={self.attrs!r}>"


class _Wanted(NamedTuple):
    block: Block
    begin: Extents
    room: NDArray[Any]
    """Where ADIOS2 puts it: contiguous."""
    target: NDArray[Any] | None
    """Where it goes from there, if that is somewhere else."""


class _Selection(NamedTuple):
    whole: NDArray[Any]
    parts: list[_Wanted]


def _window(first: Extents, extent: Extents) -> tuple[slice, ...]:
    return tuple(slice(begin, begin + size) for begin, size in zip(first, extent, strict=True))
