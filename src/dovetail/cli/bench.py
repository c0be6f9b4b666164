"""``dovetail bench``: measure the shared-memory engine beside memcpy, a Unix socket and Redis.

``bench learn`` measures samples on their way to a training loop, beside a loader in memory.

``--json`` prints the document of :meth:`dovetail.bench.run.Report.document`; ``--output FILE``
writes it to a file as well as printing the table.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dovetail.cli.output import AsJson, print_json
from dovetail.quantities import bytes_in

if TYPE_CHECKING:
    from dovetail.bench import Report

app = typer.Typer(
    help="Measure the shared-memory engine beside the limit of the machine and its peers.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


def _size_list(text: str) -> list[int]:
    try:
        return [bytes_in(word) for word in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


Sizes = Annotated[
    str, typer.Option(help="Bytes of a value or a step, as in 8,1KiB,8MiB.", metavar="SIZES")
]
Repeat = Annotated[int, typer.Option(min=1, help="Batches of each operation.")]
Peers = Annotated[
    str | None,
    typer.Option(
        help='Only these, as in "shm,memcpy"; of shm, memcpy, unix socket, redis, redis by hand.',
        metavar="PEERS",
    ),
]
LearnPeers = Annotated[
    str | None, typer.Option(help="Only these, of shm, in memory.", metavar="PEERS")
]
Milliseconds = Annotated[float, typer.Option(min=0.01, help="How long a batch takes.")]
Output = Annotated[Path | None, typer.Option("--output", "-o", help="Write the JSON here too.")]

_ALL_SIZES = "8,1KiB,64KiB,1MiB,8MiB,32MiB,64MiB"


@app.command("store", epilog="Example: dovetail bench store --sizes 1KiB,8MiB --repeat 30")
def store(
    sizes: Sizes = _ALL_SIZES,
    repeat: Repeat = 15,
    peers: Peers = None,
    milliseconds: Milliseconds = 20,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Measure puts and gets, with the targets of the design and whether each holds here."""
    from dovetail.bench import bench_store

    _measure(bench_store, sizes, repeat, peers, milliseconds, output, as_json)


@app.command("stream", epilog="Example: dovetail bench stream --sizes 1KiB,32MiB -o stream.json")
def stream(
    sizes: Sizes = _ALL_SIZES,
    repeat: Repeat = 15,
    peers: Peers = None,
    milliseconds: Milliseconds = 50,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Measure steps between two processes: latency to a waiting reader, and throughput."""
    from dovetail.bench import bench_stream

    _measure(bench_stream, sizes, repeat, peers, milliseconds, output, as_json)


@app.command("learn", epilog="Example: dovetail bench learn --sizes 32KiB,1MiB")
def learn(
    sizes: Sizes = "4KiB,32KiB,256KiB,1MiB",
    repeat: Repeat = 15,
    peers: LearnPeers = None,
    milliseconds: Milliseconds = 100,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Measure samples on their way from a simulation's stream to batches, and a trainer's waits."""
    from dovetail.bench import bench_learn

    _measure(bench_learn, sizes, repeat, peers, milliseconds, output, as_json)


def _measure(
    bench: Callable[..., Report],
    sizes: str,
    repeat: int,
    peers: str | None,
    milliseconds: float,
    output: Path | None,
    as_json: bool,
) -> None:
    """Run one of the benchmarks as the command line asks for it."""
    if output is not None and not output.absolute().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {output.parent}", param_hint="--output")
    _stop_in_order()
    _print(
        bench(
            sizes=_size_list(sizes),
            repeats=repeat,
            batch_seconds=milliseconds / 1e3,
            peers=_names(peers),
            progress=_progress(),
        ),
        output,
        as_json,
    )


def _stop_in_order() -> None:
    """Let a termination run through the ``finally`` blocks that stop what was started."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",")]


def _print(report: Report, output: Path | None, as_json: bool) -> None:
    from dovetail.bench.table import lines

    if output is not None:
        output.write_text(json.dumps(report.document(), indent=2, ensure_ascii=False) + "\n")
    if as_json:
        print_json(report.document())
    else:
        print("\n".join(lines(report)))


def _progress() -> Callable[[str], None]:
    if not sys.stderr.isatty():
        return lambda _: None
    return lambda text: print(f"measuring {text}", file=sys.stderr)
