"""``dovetail store``: look into a store, and move values between it and files.

JSON documents (``--json``):

========  ======================================================================================
ls        ``{url, values: [VALUE], unreadable: [{name, reason}]}``
stat      ``VALUE``
get       ``{key, version, nbytes, attrs, variables: [VARIABLE + {minimum, maximum, mean}],
          output}``; ``output`` is null without ``--output``
put       ``{key, version, nbytes}``
rm        ``{url, removed: [key]}``
destroy   ``{url, values, bytes}``: what was removed
VALUE     ``{key, version, nbytes, time, variables: [VARIABLE]}``; ``time`` in seconds since the
          epoch
VARIABLE  ``{name, dtype, shape, nbytes}``
========  ======================================================================================

``load`` is in :mod:`dovetail.cli.load`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from dovetail.cli.load import load
from dovetail.cli.output import AsJson, print_json, print_table, printable, sentence
from dovetail.quantities import in_bytes, in_time

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from dovetail.data import Dataset, Variable
    from dovetail.transport.contract import Store, ValueStat

app = typer.Typer(
    help="Look into a store, and move values between it and files.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.command("load", epilog="Example: dovetail store load shm://cases cases/ --prefix training/")(
    load
)

Url = Annotated[str, typer.Argument(metavar="URL", help="Such as shm://name or file:///folder.")]
Key = Annotated[str, typer.Argument(metavar="KEY", help="The key of the value.")]


def existing(url: str) -> str:
    """The URL with ``create=no``, for engines that would make an empty store to look into."""
    from dovetail.transport.url import URL, parse

    parsed = parse(url, "store")
    if parsed.scheme not in ("shm", "file", "dragon"):
        return url
    return str(URL(parsed.scheme, parsed.location, {**parsed.options, "create": "no"}))


@app.command("ls", epilog="Example: dovetail store ls shm://fields --prefix u/")
def ls(
    url: Url,
    prefix: Annotated[str, typer.Option(help="Only keys that begin with this.")] = "",
    as_json: AsJson = False,
) -> None:
    """List the values, and the files beside them that are none, with the reason."""
    import dovetail as dv

    with dv.open_store(existing(url)) as store:
        values, unreadable = _listing(store, prefix)
        if as_json:
            print_json(
                {
                    "url": store.url,
                    "values": [_value(stat) for stat in values],
                    "unreadable": [{"name": name, "reason": reason} for name, reason in unreadable],
                }
            )
            return
    print_table(
        ["KEY", "SIZE>", "PUBLISHED", "ARRAYS"],
        [
            (stat.key, in_bytes(stat.nbytes), in_time(stat.time, "milliseconds"), _arrays(stat))
            for stat in values
        ],
    )
    if unreadable:
        print()
        print_table(["NOT A VALUE", "REASON"], unreadable)


@app.command("stat", epilog="Example: dovetail store stat shm://fields u/000120")
def stat_value(url: Url, key: Key, as_json: AsJson = False) -> None:
    """Say what is known of a value without reading its arrays."""
    import dovetail as dv

    with dv.open_store(existing(url)) as store:
        stat = store.stat(key)
    if as_json:
        print_json(_value(stat))
        return
    print(f"key        {printable(stat.key)}")
    print(f"version    {stat.version}")
    print(f"size       {in_bytes(stat.nbytes)} ({stat.nbytes} bytes)")
    print(f"published  {in_time(stat.time, 'milliseconds')}")
    print()
    print_table(
        ["ARRAY", "DTYPE", "SHAPE", "SIZE>"],
        [
            (variable.name, variable.dtype, list(variable.shape), in_bytes(variable.nbytes))
            for variable in stat.variables
        ],
    )


@app.command("get", epilog="Example: dovetail store get shm://fields u/000120 --output u.npz")
def get(
    url: Url,
    key: Key,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Write a .safetensors, .npy (one array) or .npz file."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Summarize a value, or write it to a file. Attributes survive in .safetensors alone."""
    import dovetail as dv
    from dovetail.cli.files import write_file

    with dv.open_store(existing(url)) as store:
        dataset = store.get(key)
        if output is not None:
            write_file(output, dataset)
        variables = [_summary(name, array) for name, array in dataset.items()]
    if as_json:
        print_json(
            {
                "key": key,
                "version": dataset.version,
                "nbytes": dataset.nbytes,
                "attrs": dataset.attrs,
                "variables": variables,
                "output": None if output is None else str(output),
            }
        )
    elif output is not None:
        print(f"{printable(str(output))}: {in_bytes(output.stat().st_size)}")
    else:
        _print_summary(dataset, variables)


@app.command("put", epilog="Example: dovetail store put shm://fields mesh mesh.npz")
def put(
    url: Url,
    key: Key,
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="A .safetensors, .npy or .npz file; any other file, and - (standard input), "
            "is stored as an array of bytes.",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Publish a file as a value."""
    import dovetail as dv
    from dovetail.cli.files import read_file

    if file == "-":
        value = dv.Dataset(bytearray(sys.stdin.buffer.read()))
    else:
        value = read_file(Path(file))
    with dv.open_store(url) as store:
        version = store.put(key, value)
    if as_json:
        print_json({"key": key, "version": version, "nbytes": value.nbytes})
    else:
        print(f"{printable(key)}: {in_bytes(value.nbytes)}, version {version}")


@app.command("rm", epilog="Example: dovetail store rm shm://fields u/000120 u/000121")
def rm(
    url: Url,
    keys: Annotated[list[str] | None, typer.Argument(metavar="KEY...", help="Keys.")] = None,
    prefix: Annotated[
        str | None, typer.Option(help="Also every key that begins with this.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Remove values. A key that is not there is an error, after the others were removed."""
    import dovetail as dv

    wanted = list(keys or [])
    if not wanted and prefix is None:
        raise typer.BadParameter("name at least one KEY, or a --prefix")
    removed: list[str] = []
    absent: dv.KeyNotFoundError | None = None
    with dv.open_store(existing(url)) as store:
        if prefix is not None:
            wanted += [key for key in store.keys(prefix) if key not in wanted]
        for key in wanted:
            try:
                store.delete(key)
                removed.append(key)
            except dv.KeyNotFoundError as error:
                absent = absent or error
    if as_json:
        print_json({"url": url, "removed": removed})
    else:
        for key in removed:
            print(f"removed {printable(key)}")
    if absent is not None:
        raise absent


@app.command("destroy", epilog="Example: dovetail store destroy shm://fields --yes")
def destroy(
    url: Url,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Do not ask. Without a terminal nothing is asked.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove everything in a store that is ours. Files that others put there stay."""
    import dovetail as dv

    with dv.open_store(existing(url)) as store:
        before, held = len(store.keys()), store.statistics().bytes_held
        if not yes and sys.stdin.isatty():
            typer.confirm(
                f"Remove up to {before} values ({in_bytes(held)}) of {store.url}?",
                abort=True,
                err=True,
            )
        folder = store.path
        store.destroy()
    kept = 0
    if folder is not None and folder.is_dir():  # of others
        with dv.open_store(existing(url)) as store:
            kept = len(store.keys())
    count = before - kept
    if as_json:
        print_json({"url": url, "values": count, "bytes": held})
    else:
        print(f"removed {count} values, {in_bytes(held)}")


def _listing(store: Store, prefix: str) -> tuple[list[ValueStat], list[tuple[str, str]]]:
    from dovetail.errors import CorruptDataError, KeyNotFoundError

    values, damaged, refused = [], [], []
    for key in store.keys(prefix):
        try:
            values.append(store.stat(key))
        except KeyNotFoundError:  # removed meanwhile
            continue
        except CorruptDataError as error:
            damaged.append((key, str(error)))
        except OSError as error:
            refused.append((key, sentence(error)))
    foreign = getattr(store, "foreign_files", None)
    if foreign is not None and not prefix:  # names the damaged files too
        return values, [*refused, *foreign()]
    return values, [*refused, *damaged]


def _value(stat: ValueStat) -> dict[str, Any]:
    return {
        "key": stat.key,
        "version": stat.version,
        "nbytes": stat.nbytes,
        "time": stat.time,
        "variables": [_variable(variable) for variable in stat.variables],
    }


def _variable(variable: Variable) -> dict[str, Any]:
    return {
        "name": variable.name,
        "dtype": str(variable.dtype),
        "shape": list(variable.shape),
        "nbytes": variable.nbytes,
    }


def _arrays(stat: ValueStat) -> str:
    return ", ".join(
        f"{variable.name}: {variable.dtype}{list(variable.shape)}" for variable in stat.variables
    )


def _summary(name: str, array: NDArray[Any]) -> dict[str, Any]:
    import numpy as np

    summary: dict[str, Any] = {
        "name": name,
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "nbytes": array.nbytes,
    }
    numbers: dict[str, float | None] = dict.fromkeys(("minimum", "maximum", "mean"))
    if array.size and array.dtype.kind != "c":
        wide = array.astype(np.float32) if array.dtype.kind == "V" else array
        with np.errstate(all="ignore"):
            numbers = {
                "minimum": float(wide.min()),
                "maximum": float(wide.max()),
                "mean": float(wide.mean(dtype=np.float64)),
            }
    # JSON has neither NaN nor infinity.
    return summary | {
        key: value if value is not None and np.isfinite(value) else None
        for key, value in numbers.items()
    }


def _print_summary(dataset: Dataset, variables: list[dict[str, Any]]) -> None:
    print(f"version  {dataset.version}")
    for name, attribute in dataset.attrs.items():
        print(f"{printable(name)} = {printable(str(attribute))}")
    print()
    print_table(
        ["ARRAY", "DTYPE", "SHAPE", "SIZE>", "MINIMUM>", "MEAN>", "MAXIMUM>"],
        [
            (
                variable["name"],
                variable["dtype"],
                variable["shape"],
                in_bytes(variable["nbytes"]),
                *(_number(variable[key]) for key in ("minimum", "mean", "maximum")),
            )
            for variable in variables
        ],
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6g}"
