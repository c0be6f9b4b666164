"""``dovetail model compile``: compile an exported model before a job needs it.

JSON document (``--json``): ``{folder, device, threads}``.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from dovetail.cli.output import AsJson, print_json

app = typer.Typer(
    help="Models for the time loop.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.callback()
def model() -> None:
    """Models for the time loop."""


@app.command("compile", epilog="Example: dovetail model compile closure.pt2 --threads 1")
def compile_model(
    path: Annotated[Path, typer.Argument(help="What dovetail.export_model wrote.")],
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or xpu.")] = "auto",
    threads: Annotated[
        int, typer.Option(min=0, help="The most that a call may use; 0: as load_model chooses.")
    ] = 0,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="A folder to copy it into, to be loaded from there."),
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds that the compiler may take.")] = 600,
    as_json: AsJson = False,
) -> None:
    """Compile a model for this machine, as its first load would, and print its folder.

    On a machine of another kind, compile it there: on a compute node, for it.
    """
    from dovetail import _native
    from dovetail.model.compiling import Threads, compiled_folder
    from dovetail.model.installed import device_here

    if not path.is_file():
        raise FileNotFoundError(f"there is no exported model {path}")
    chosen = device_here(device)
    way: Threads = "one" if (threads or _native.available_threads()) == 1 else "many"
    folder = compiled_folder(path, device=chosen, threads=way, timeout=timeout)
    if output is not None:
        folder = Path(shutil.copytree(folder, output))
    if as_json:
        print_json({"folder": str(folder), "device": chosen, "threads": way})
    else:
        print(folder)
