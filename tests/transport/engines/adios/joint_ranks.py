"""Ranks of MPI programs that write or read one plain SST stream together: see ``test_joint``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
from mpi4py import MPI

import dovetail as dv

ROWS, COLUMNS = 6, 4
COMM = MPI.COMM_WORLD
RANK, SIZE = COMM.Get_rank(), COMM.Get_size()


def main(role: str, url: str, count: int) -> None:
    """Do what the test wants, and say on rank 0 how it went."""
    try:
        outcome: Any = ROLES[role](url, count)
    except dv.DovetailError as error:
        outcome = [type(error).__name__, str(error)]
    outcomes = COMM.gather(outcome)
    if RANK == 0:
        print(json.dumps(outcomes), flush=True)


def whole(number: int) -> Any:
    """The global array of a step."""
    return np.arange(ROWS * COLUMNS, dtype="f8").reshape(ROWS, COLUMNS) + 100.0 * number


def _share(length: int, rank: int, size: int) -> slice:
    return slice(rank * length // size, (rank + 1) * length // size)


def write(url: str, count: int) -> int:
    """Write steps of every kind of array."""
    with dv.open_stream(url, "w", policy=dv.buffered(1), comm=COMM, timeout=60) as out:
        for number in range(count):
            _write_step(out, number)
    return count


def write_and_fail(url: str, count: int) -> int:
    """Leave by an exception after some steps."""
    with dv.open_stream(url, "w", policy=dv.buffered(1), comm=COMM, timeout=60) as out:
        for number in range(count):
            _write_step(out, number)
        raise dv.DovetailError("on purpose")


def write_for_ever(url: str, _: int) -> int:
    """Write until killed."""
    with dv.open_stream(url, "w", policy=dv.buffered(1), comm=COMM, timeout=60) as out:
        for number in range(1 << 30):
            _write_step(out, number)
    return 0


def write_impatiently(url: str, _: int) -> int:
    """Write until readers have kept it waiting for some seconds."""
    with dv.open_stream(url, "w", policy=dv.buffered(1), comm=COMM, timeout=5) as out:
        for number in range(1 << 30):
            _write_step(out, number)
    return 0


def _write_step(out: Any, number: int) -> None:
    rows = _share(ROWS, RANK, SIZE)
    full = whole(number)
    with out.step(attrs={"number": number, f"from {RANK}": RANK}) as step:
        step.put("rows", full[rows], shape=full.shape, start=(rows.start, 0))
        step.put("fortran", np.asfortranarray(full[rows]), shape=full.shape, start=(rows.start, 0))
        step["joined"] = np.full((RANK + 1, 2), RANK, "i4")
        room = step.empty("filled", (2,), "f4")
        room[:] = RANK + number
        step["flags"] = np.array([RANK % 2 == 0])
        if RANK == SIZE - 1:
            step["single"] = np.array(number, "i8")


def write_nonsense(url: str, count: int) -> list[str]:
    """Blocks that form no array are refused on every rank; the stream goes on."""
    refused = []
    with dv.open_stream(url, "w", policy=dv.buffered(1), comm=COMM, timeout=60) as out:
        try:
            with out.step() as step:
                step["u"] = np.zeros((2, 2 + RANK))
        except dv.CoverageError as error:
            refused.append(str(error))
        for number in range(count):
            _write_step(out, number)
    return refused


def read(url: str, _: int) -> list[Any]:
    """Read everything, each rank another selection; say what was seen."""
    seen = []
    with dv.open_stream(url, "r", comm=COMM, timeout=60) as reader:
        for step in reader:
            number = step.attrs["number"]
            columns = _share(COLUMNS, RANK, SIZE)
            full = whole(number)
            for name in ("rows", "fortran"):
                part = step.read(name, (0, columns.start), (ROWS, columns.stop - columns.start))
                assert np.array_equal(part, full[:, columns]), (name, part)
                assert np.array_equal(step[name], full), name
                assert np.array_equal(step.read(name, (1, 1), (3, 2)), full[1:4, 1:3]), name
            writers = int(step["joined"][-1, 0]) + 1
            assert step["joined"][:, 1].tolist() == [
                r for r in range(writers) for _ in range(r + 1)
            ]
            assert step["filled"].tolist() == [r + number for r in range(writers) for _ in (0, 1)]
            assert step["flags"].tolist() == [r % 2 == 0 for r in range(writers)]
            assert step["flags"].dtype == np.bool_
            assert int(step["single"]) == number
            assert [step.attrs[f"from {r}"] for r in range(writers)] == list(range(writers))
            seen.append(number)
    return seen


def read_on(url: str, _: int) -> list[Any]:
    """Say what was seen before the stream broke, and how it did."""
    seen: list[Any] = []
    with dv.open_stream(url, "r", comm=COMM, timeout=60) as reader:
        try:
            for step in reader:
                seen.append(step.attrs["number"])
                if RANK == 0:
                    print("step", flush=True)
        except dv.DovetailError as error:
            seen.append(type(error).__name__)
    return seen


def wait_in_vain(url: str, _: int) -> list[Any]:
    """Read one step, and wait for another that does not come."""
    with dv.open_stream(url, "r", comm=COMM, timeout=60) as reader:
        first = next(reader).attrs["number"]
        while True:
            try:
                next_step = reader.next_step(timeout=1.0)
            except dv.TransportTimeoutError as error:
                return [first, type(error).__name__]
            assert next_step is not None


def write_one_and_wait(url: str, _: int) -> int:
    """Write one step, and leave when a line comes."""
    with dv.open_stream(url, "w", policy=dv.buffered(1), comm=COMM, timeout=60) as out:
        _write_step(out, 0)
        if RANK == 0:
            sys.stdin.readline()
        COMM.barrier()
    return 1


# --- programs that know nothing of Dovetail --------------------------------------------------


def foreign_write(url: str, count: int) -> int:
    """As any ADIOS2 program with MPI writes."""
    import adios2

    adios = adios2.Adios(COMM)
    stream_io = adios.declare_io("out")
    stream_io.set_engine("SST")
    stream_io.set_parameters({"RendezvousReaderCount": "1", "NetworkInterface": "lo"})
    with adios2.Stream(stream_io, _contact(url), "w", COMM) as out:
        for number in out.steps(count):
            rows = _share(ROWS, RANK, SIZE)
            block = np.ascontiguousarray(whole(number.current_step())[rows])
            out.write("rows", block, [ROWS, COLUMNS], [rows.start, 0], list(block.shape))
    return count


def foreign_read(url: str, _: int) -> list[Any]:
    """As any ADIOS2 program with MPI reads."""
    import adios2

    adios = adios2.Adios(COMM)
    stream_io = adios.declare_io("in")
    stream_io.set_engine("SST")
    stream_io.set_parameters({"NetworkInterface": "lo"})
    seen = []
    with adios2.Stream(stream_io, _contact(url), "r", COMM) as stream:
        for _ in stream.steps():
            number = stream.current_step()
            columns = _share(COLUMNS, RANK, SIZE)
            begin, count = [0, columns.start], [ROWS, columns.stop - columns.start]
            assert np.array_equal(stream.read("rows", begin, count), whole(number)[:, columns])
            seen.append(number)
    return seen


def read_foreign(url: str, _: int) -> list[Any]:
    """Read what :func:`foreign_write` wrote."""
    return list(_rows_of(url))


def _rows_of(url: str) -> Iterator[int]:
    with dv.open_stream(url, "r", comm=COMM, timeout=60) as reader:
        for step in reader:
            columns = _share(COLUMNS, RANK, SIZE)
            begin, count = (0, columns.start), (ROWS, columns.stop - columns.start)
            full = whole(step.index)
            assert np.array_equal(step.read("rows", begin, count), full[:, columns])
            yield step.index


def _contact(url: str) -> str:
    from dovetail.transport.engines.adios.sst.contact import place_of
    from dovetail.transport.url import parse

    place = place_of(parse(url, "stream"))
    return str(place.folder / place.name)


ROLES: dict[str, Any] = {
    role.__name__: role
    for role in (
        write,
        write_and_fail,
        write_for_ever,
        write_impatiently,
        write_nonsense,
        write_one_and_wait,
        read,
        read_on,
        wait_in_vain,
        foreign_write,
        foreign_read,
        read_foreign,
    )
}

if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
