"""``dovetail bench transports``: every transport beside what it is made of.

``--json`` prints the document of
:meth:`dovetail.bench.transports.report.TransportsReport.document`; ``--output FOLDER`` writes it
there as ``transports.json``, with the table and a picture of each comparison.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from dovetail.cli.measuring import names_in, progress, sizes_in, stop_in_order
from dovetail.cli.output import AsJson, print_json

if TYPE_CHECKING:
    from dovetail.bench.transports.comparisons import Scope
    from dovetail.bench.transports.report import TransportsReport

Quick = Annotated[bool, typer.Option("--quick", help="A first impression, in two minutes.")]
Only = Annotated[
    str | None,
    typer.Option(
        help="Only these comparisons, of streaming, staging-colocated, staging-clustered, "
        "gathering, scaling, loading.",
        metavar="NAMES",
    ),
]
Peers = Annotated[
    str | None,
    typer.Option(help='Only these peers, as in "sst,sst by hand".', metavar="PEERS"),
]
Sizes = Annotated[
    str | None, typer.Option(help="Bytes of a rank, as in 1KiB,8MiB.", metavar="SIZES")
]
Ranks = Annotated[
    str | None, typer.Option(help="Numbers of ranks of a side, as in 1,2,4.", metavar="NUMBERS")
]
Files = Annotated[int | None, typer.Option(min=1, help="How many small files are loaded.")]
Repeat = Annotated[int | None, typer.Option(min=1, help="Batches of each operation.")]
Disk = Annotated[
    Path | None, typer.Option(help="A folder on the disk that is measured.", file_okay=False)
]
Hosts = Annotated[
    bool,
    typer.Option(
        "--hosts/--no-hosts",
        help="Make two hosts of network namespaces, for staging between hosts (needs root).",
    ),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", help="Write JSON, table and pictures into this folder.", file_okay=False
    ),
]


def transports(
    quick: Quick = False,
    only: Only = None,
    peers: Peers = None,
    sizes: Sizes = None,
    ranks: Ranks = None,
    files: Files = None,
    repeat: Repeat = None,
    disk: Disk = None,
    hosts: Hosts = True,
    output: Output = None,
    as_json: AsJson = False,
) -> None:
    """Measure every transport, and each engine driven by hand beside it: some 15 minutes."""
    from dovetail.bench.transports.run import bench_transports

    scope = _scope(quick, sizes, ranks, files, repeat)
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
    stop_in_order()
    report = bench_transports(
        scope,
        only=names_in(only),
        peers=names_in(peers),
        disk=disk,
        two_hosts=hosts,
        progress=progress(),
    )
    if output is not None:
        _write(report, output)
    _print(report, as_json)


def _scope(
    quick: bool, sizes: str | None, ranks: str | None, files: int | None, repeat: int | None
) -> Scope:
    """What the options ask for, above what they begin from."""
    from dovetail.bench.transports.comparisons import QUICK, Scope

    scope = QUICK if quick else Scope()
    if sizes is not None:
        scope = replace(scope, sizes=sizes_in(sizes))
    if ranks is not None:
        scope = replace(scope, ranks=_numbers_in(ranks))
    if files is not None:
        scope = replace(scope, file_count=files)
    if repeat is not None:
        scope = replace(scope, repeats=repeat, loads=min(repeat, scope.loads))
    return scope


def _numbers_in(text: str) -> tuple[int, ...]:
    words = [word.strip() for word in text.split(",")]
    if not all(word.isascii() and word.isdigit() and 1 <= int(word[:4]) <= 256 for word in words):
        raise typer.BadParameter(f"{text!r} is no list of numbers from 1 to 256, such as 1,2,4")
    return tuple(int(word) for word in words)


def _write(report: TransportsReport, folder: Path) -> None:
    from dovetail.bench.transports import pictures
    from dovetail.bench.transports.report import lines

    document = json.dumps(report.document(), indent=2, ensure_ascii=False)
    (folder / "transports.json").write_text(f"{document}\n", encoding="utf-8")
    (folder / "transports.txt").write_text("\n".join([*lines(report), ""]), encoding="utf-8")
    why = pictures.missing()
    if why is None:
        pictures.draw(report, folder)
    else:
        print(f"dovetail: no pictures without matplotlib: {why}", file=sys.stderr)


def _print(report: TransportsReport, as_json: bool) -> None:
    from dovetail.bench.transports.report import lines

    if as_json:
        print_json(report.document())
    else:
        print("\n".join(lines(report)))
