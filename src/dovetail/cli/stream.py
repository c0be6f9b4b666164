"""``dovetail stream``: look at a stream without taking part in it.

JSON documents (``--json``):

=====  =========================================================================================
info   ``{url, policy, state, epoch, ranks, steps_complete, steps_held, bytes_held, capacity,
       groups: [{name, ranks, state, steps_ended}], transport}``
tail   one line a step: ``{index, time, attrs, variables: [{name, dtype, shape, nbytes}]}``
rm     ``{url}``
=====  =========================================================================================
"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from dovetail.cli.output import AsJson, print_json, print_json_line, print_table, printable
from dovetail.quantities import in_bytes, in_time

app = typer.Typer(
    help="Look at a stream without taking part in it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Url = Annotated[str, typer.Argument(metavar="URL", help="Such as shm://name.")]


@app.command("info", epilog="Example: dovetail stream info shm://fields")
def info(url: Url, as_json: AsJson = False) -> None:
    """Say who writes and reads a stream, how far they are, and what it holds."""
    import dovetail as dv

    stream = dv.describe_stream(url)
    if as_json:
        print_json(
            stream._asdict()
            | {
                "policy": str(stream.policy),
                "groups": [group._asdict() for group in stream.groups],
            }
        )
        return
    ranks = "1 rank" if stream.ranks == 1 else f"{stream.ranks} ranks"
    print(f"stream  {printable(stream.url)}")
    print(f"state   {stream.state}, epoch {stream.epoch}")
    print(f"writer  {ranks}, {stream.policy}")
    if stream.transport:
        print(f"moved   by {stream.transport}")
    print(f"steps   {stream.steps_complete} complete, {stream.steps_held} held")
    print(f"blocks  {in_bytes(stream.bytes_held)} of {in_bytes(stream.capacity)}")
    if stream.groups:
        print()
        print_table(
            ["GROUP", "RANKS>", "STATE", "STEPS ENDED>"],
            [(group.name, group.ranks, group.state, group.steps_ended) for group in stream.groups],
        )


@app.command("tail", epilog="Example: dovetail stream tail shm://fields --steps 10")
def tail(
    url: Url,
    steps: Annotated[int | None, typer.Option(min=1, help="End after this many steps.")] = None,
    timeout: Annotated[
        float | None,
        typer.Option(min=0, help="Give up after so many seconds without a new step."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Follow the newest steps of a stream.

    Takes nothing and holds nobody up; steps may be missed.
    """
    import dovetail as dv

    for count, step in enumerate(dv.tail_stream(url, timeout), start=1):
        arrays = dict(step)
        if as_json:
            print_json_line(
                {
                    "index": step.index,
                    "time": step.time,
                    "attrs": dict(step.attrs),
                    "variables": [
                        {
                            "name": name,
                            "dtype": str(array.dtype),
                            "shape": list(array.shape),
                            "nbytes": array.nbytes,
                        }
                        for name, array in arrays.items()
                    ],
                }
            )
        else:
            held = ", ".join(
                f"{name}: {array.dtype}{list(array.shape)}" for name, array in arrays.items()
            )
            attrs = f"  {json.dumps(dict(step.attrs))}" if step.attrs else ""
            line = f"{step.index}  {in_time(step.time, 'milliseconds')}  {held}{attrs}"
            print(printable(line), flush=True)
        if count == steps:
            break


@app.command("rm", epilog="Example: dovetail stream rm shm://fields")
def rm(url: Url, as_json: AsJson = False) -> None:
    """Remove a stream with all it holds. Whoever takes part sees the other side lost."""
    import dovetail as dv

    dv.describe_stream(url)  # what is not there cannot be removed
    dv.destroy_stream(url)
    if as_json:
        print_json({"url": url})
    else:
        print(f"removed {printable(url)}")
