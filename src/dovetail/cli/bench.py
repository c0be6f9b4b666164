"""``dovetail bench``: measure the shared-memory engine beside memcpy, a Unix socket and Redis.

``bench learn`` measures samples on their way to a training loop, beside a loader in memory.
``bench model`` measures calls of small networks.
``bench transports`` is in :mod:`dovetail.cli.transports`.

``--json`` prints the document of :meth:`dovetail.bench.run.Report.document`; ``--output FILE``
writes it to a file as well as printing the table.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dovetail.cli.measuring import names_in, progress, sizes_in, stop_in_order
from dovetail.cli.output import AsJson, print_json
from dovetail.cli.transports import transports

if TYPE_CHECKING:
    from dovetail.bench import Report

app = typer.Typer(
    help="Measure engines beside the limit of the machine and their peers.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command("transports", epilog="Example: dovetail bench transports --quick --output figures")(
    transports
)


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


@app.command("model", epilog="Example: dovetail bench model --batches 1,64 --networks mlp")
def model(
    batches: Annotated[str, typer.Option(help="Samples of a call.")] = "1,16,256,4096",
    networks: Annotated[str, typer.Option(help="Of mlp, cnn.")] = "mlp,cnn",
    ranks: Annotated[str, typer.Option(help="Processes that call at once.")] = "1,2,4,8",
    repeat: Repeat = 15,
    milliseconds: Milliseconds = 20,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Measure calls of a model: eager, TorchScript, bare C, Redis; ours, in process and shared."""
    from dovetail.bench.models import bench_models
    from dovetail.bench.models.networks import NETWORKS

    try:
        numbers = [int(word) for word in batches.split(",")]
        crowds = [int(word) for word in ranks.split(",")]
    except ValueError:
        raise typer.BadParameter(
            "say numbers, as in 1,64", param_hint="--batches, --ranks"
        ) from None
    if not 1 <= min(crowds) <= max(crowds) <= 1024:
        raise typer.BadParameter("say 1 to 1024", param_hint="--ranks")
    names = names_in(networks) or []
    if min(numbers) < 1 or not set(names) <= set(NETWORKS):
        raise typer.BadParameter("batches are at least 1, and networks are of mlp, cnn")
    stop_in_order()
    report = bench_models(
        batches=numbers,
        networks=names,
        ranks=crowds,
        repeats=repeat,
        batch_seconds=milliseconds / 1e3,
        progress=progress(),
    )
    if output is not None:
        output.write_text(json.dumps(report.document(), indent=2, ensure_ascii=False) + "\n")
    if as_json:
        print_json(report.document())
    else:
        print("\n".join(report.lines()))


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
    stop_in_order()
    _print(
        bench(
            sizes=sizes_in(sizes),
            repeats=repeat,
            batch_seconds=milliseconds / 1e3,
            peers=names_in(peers),
            progress=progress(),
        ),
        output,
        as_json,
    )


def _print(report: Report, output: Path | None, as_json: bool) -> None:
    from dovetail.bench.table import lines

    if output is not None:
        output.write_text(json.dumps(report.document(), indent=2, ensure_ascii=False) + "\n")
    if as_json:
        print_json(report.document())
    else:
        print("\n".join(lines(report)))
