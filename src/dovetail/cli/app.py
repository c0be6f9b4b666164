"""The command line, put together from one file a noun."""

from __future__ import annotations

import platform
from typing import Annotated

import typer

from dovetail.cli import (
    bench,
    clean,
    engines,
    flow,
    gateway,
    machine,
    model,
    report,
    run,
    serve,
    store,
    stream,
    trace,
)
from dovetail.cli.output import AsJson, print_json

app = typer.Typer(
    name="dovetail",
    help="Couple simulations with AI. The transport is a URL.",
    epilog="Example: dovetail store ls shm://fields",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(store.app, name="store")
app.add_typer(stream.app, name="stream")
app.add_typer(bench.app, name="bench")
app.add_typer(model.app, name="model")
app.add_typer(gateway.app, name="gateway")
app.add_typer(machine.app, name="machine")
app.command("run", epilog="Example: dovetail run flow.py --set trainer.minutes=20")(run.run)
app.command("plan", epilog="Example: dovetail plan flow.py --machine aurora --nodes 512")(flow.plan)
app.command("validate", epilog="Example: dovetail validate flow.yaml")(flow.validate)
app.command("report", epilog="Example: dovetail report runs/closure-20260314-101500")(report.report)
app.command("serve", epilog="Example: dovetail serve 'redis://?capacity=4GiB'")(serve.serve)
app.command("engines", epilog="Example: dovetail engines --json")(engines.engines)
app.command("clean", epilog="Example: dovetail clean --dry-run")(clean.clean)
app.command(
    "trace", epilog="Example: DOVETAIL_TRACE=run/trace ./simulate; dovetail trace run/trace"
)(trace.trace)


@app.callback(invoke_without_command=True)
def dovetail(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
    as_json: AsJson = False,
) -> None:
    """Couple simulations with AI. The transport is a URL."""
    if not version:
        if context.invoked_subcommand is None:
            print(context.get_help())
            raise typer.Exit(2)
        return
    import dovetail as dv

    if as_json:
        print_json({"version": dv.__version__, "python": platform.python_version()})
    else:
        print(f"dovetail {dv.__version__}")
    raise typer.Exit
