"""``dovetail gateway``: link two systems that share nothing but one port.

JSON documents (``--json``):

============  ==================================================================================
serve         ``{host, port, folder, link, url, url_there, pid}``, once it is ready; NAME in the
              URLs stands for a stream or a store, HOST for where the other side reaches it
carry stream  ``{steps, bytes, stopped}``
carry store   ``{values, items, bytes, refused: {key: reason}}``
============  ==================================================================================

A signal (SIGTERM, Ctrl-C) ends ``serve`` and ``carry store`` in order. It breaks ``carry stream``
off, which is a failure for its readers: the stream has not ended.
"""

from __future__ import annotations

import ctypes
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import FrameType
from typing import IO, TYPE_CHECKING, Annotated

import typer

from dovetail.cli.output import AsJson, print_json, printable
from dovetail.quantities import bytes_in, counted, in_bytes

if TYPE_CHECKING:
    from dovetail.transport.gateway import Gateway
    from dovetail.transport.policies import Policy

_SET_PARENT_DEATH_SIGNAL = 1
_SECONDS_TO_START = 30.0
_LAST_LINES = 3

app = typer.Typer(
    help="Link two systems that share nothing but one port.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
carry = typer.Typer(
    help="Carry a stream or a store from one engine to another.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(carry, name="carry")

Source = Annotated[str, typer.Argument(metavar="SOURCE", help="A URL, such as shm://fields.")]
Destination = Annotated[
    str, typer.Argument(metavar="DESTINATION", help="A URL, such as one that serve printed.")
]
Timeout = Annotated[
    float | None,
    typer.Option(
        min=0, help="Give up after so many seconds of waiting for either side; never by default."
    ),
]


@app.command("serve", epilog="Example: dovetail gateway serve --interface hsn0 --port 6390")
def serve(
    directory: Annotated[
        Path,
        typer.Option("--directory", "-d", help="Where its certificate and token lie."),
    ] = Path("gateway"),
    interface: Annotated[
        str, typer.Option(help="The one interface to listen on, by name or address.")
    ] = "lo",
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port.")] = 6390,
    capacity: Annotated[
        str | None, typer.Option(help="The most that it holds, as in 8GiB.", metavar="SIZE")
    ] = None,
    persistent: Annotated[
        bool, typer.Option("--persistent", help="Keep on disk what it holds.")
    ] = False,
    patience: Annotated[
        float,
        typer.Option(
            min=2,
            help="Seconds for which the link may be cut before those behind it count as lost.",
        ),
    ] = 600.0,
    as_json: AsJson = False,
) -> None:
    """Start the server that both sides meet on, until Ctrl-C.

    It speaks TLS and lets in who has its token. Both are made on the first start, in DIRECTORY,
    whose folder "link" is for the other side, too.
    """
    from dovetail.transport.gateway import describe

    try:
        nbytes = None if capacity is None else bytes_in(capacity)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--capacity") from None
    gateway = describe(
        directory,
        interface=interface,
        port=port,
        capacity=nbytes,
        persistent=persistent,
        patience=patience,
    )
    orders = _Orders()
    log = directory / "server.log"
    with open(log, "ab") as output, _started(gateway, output) as process:
        try:
            _wait_until_ready(gateway, process, log, orders)
            if not orders.given.is_set():
                _say_how_to_reach(gateway, directory, process.pid, as_json)
            while not orders.given.wait(0.2):
                if process.poll() is not None:
                    raise ChildProcessError(_ended(process, log))
        finally:
            process.terminate()


@carry.command(
    "stream", epilog="Example: dovetail gateway carry stream shm://fields 'rediss://…/fields?…'"
)
def carry_stream(
    source: Source,
    destination: Destination,
    policy: Annotated[
        str | None,
        typer.Option(
            help="Of the destination: lockstep, buffered:N, latest or work_queue:N; by default "
            "that of the source.",
            metavar="POLICY",
        ),
    ] = None,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Carry a stream, step by step, until it ends.

    Its end is an end there, a failure is a failure there, and stop() there is stop() here.
    """
    from dovetail.transport.relay import relay_stream

    chosen = None if policy is None else _policy(policy)
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    carried = relay_stream(source, destination, policy=chosen, timeout=timeout)
    if as_json:
        print_json(carried._asdict())
        return
    end = "a reader wants no more" if carried.stopped else "the stream has ended"
    print(f"carried {counted(carried.steps, 'step')}, {in_bytes(carried.bytes)}: {end}")


@carry.command(
    "store",
    epilog="Example: dovetail gateway carry store shm://cases 'rediss://…/cases?…' --list done",
)
def carry_store(
    source: Source,
    destination: Destination,
    prefix: Annotated[str, typer.Option(help="Only values whose keys begin with this.")] = "",
    lists: Annotated[
        list[str] | None,
        typer.Option("--list", help="Carry this list, too; repeat for more.", metavar="NAME"),
    ] = None,
    only_listed: Annotated[
        bool, typer.Option("--only-listed", help="Only values that those lists name.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Carry what is there, and end.")] = False,
    every: Annotated[
        float, typer.Option(min=0.001, help="Seconds between two looks at the keys.")
    ] = 0.2,
    timeout: Timeout = None,
    as_json: AsJson = False,
) -> None:
    """Carry the values of a store as they get newer, and its lists, until Ctrl-C.

    Each item of a list is carried once, though this be killed and started again: nobody else may
    append to those lists at the destination.
    """
    from dovetail.transport.relay import relay_store

    orders = _Orders()
    if once:
        orders.given.set()
    carried = relay_store(
        source,
        destination,
        prefix=None if only_listed else prefix,
        lists=lists or (),
        stop=orders.given,
        every=every,
        timeout=timeout,
    )
    if as_json:
        print_json(carried._asdict())
        return
    for key, reason in carried.refused.items():
        print(f"not carried: {printable(key)}: {printable(reason)}", file=sys.stderr)
    print(
        f"carried {counted(carried.values, 'value')}, {in_bytes(carried.bytes)}, and "
        f"{counted(carried.items, 'item')}"
    )


class _Orders:
    """Turns the first signal into an order to end; the next one breaks off."""

    def __init__(self) -> None:
        self.given = threading.Event()
        self._signals = 0
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._take)

    def _take(self, number: int, frame: FrameType | None) -> None:
        self._signals += 1
        if self._signals > 1:
            sys.exit(128 + number)
        self.given.set()


def _policy(text: str) -> Policy:
    """A policy from its name and, after a colon, its number of steps."""
    import dovetail as dv

    match = re.fullmatch(r"(lockstep|latest)|(buffered|work_queue):(\d{1,6})", text)
    if match is None:
        raise typer.BadParameter(
            f"{text!r} is none: write lockstep, buffered:4, latest or work_queue:4",
            param_hint="--policy",
        )
    if match[1]:
        return dv.lockstep() if match[1] == "lockstep" else dv.latest()
    make = dv.buffered if match[2] == "buffered" else dv.work_queue
    try:
        return make(int(match[3]))
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--policy") from None


# --- the server --------------------------------------------------------------------------------


def _started(gateway: Gateway, output: IO[bytes]) -> subprocess.Popen[bytes]:
    """The server process, which ends with this one."""
    gateway.server.prepare()
    libc = ctypes.CDLL(None)
    return subprocess.Popen(
        gateway.server.command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.STDOUT,
        cwd=gateway.server.folder,
        start_new_session=True,
        # No thread runs here yet.
        preexec_fn=lambda: libc.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM),  # noqa: PLW1509
    )


def _wait_until_ready(
    gateway: Gateway, process: subprocess.Popen[bytes], log: Path, orders: _Orders
) -> None:
    import dovetail as dv

    deadline = time.monotonic() + _SECONDS_TO_START
    while not orders.given.is_set():
        try:
            dv.open_store(gateway.server.url, timeout=0.2).close()
            answers = True
        except dv.DovetailError:  # it may come from another one, beside which ours cannot start
            if time.monotonic() > deadline:
                raise
            answers = False
        if process.poll() is not None:
            raise ChildProcessError(_ended(process, log))
        if answers:
            return
        time.sleep(0.02)


def _ended(process: subprocess.Popen[bytes], log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-_LAST_LINES:]
    return (
        f"the server of the gateway ended with status {process.returncode}. The last lines of "
        f"{log}: {' | '.join(line.strip() for line in lines)}"
    )


def _say_how_to_reach(gateway: Gateway, directory: Path, pid: int, as_json: bool) -> None:
    from dovetail.transport.gateway import gateway_url

    there = gateway_url("HOST", gateway.port, "NAME", "link")
    if as_json:
        print_json(
            {
                "host": gateway.host,
                "port": gateway.port,
                "folder": str(directory.absolute()),
                "link": str(gateway.link),
                "url": gateway.url("NAME"),
                "url_there": there,
                "pid": pid,
            }
        )
    else:
        print(f"gateway at {gateway.host}:{gateway.port}, with TLS and a token")
        print("a stream or a store NAME on it is, on this side,")
        print(f"    '{gateway.url('NAME')}'")
        print("and on the other side, which reaches this port at HOST,")
        print(f"    '{there}'")
        print("with a copy of the folder 'link', that is of its certificate and its token:")
        print(f"    scp -r '{printable(str(gateway.link))}' OTHER_SIDE:link")
    sys.stdout.flush()
