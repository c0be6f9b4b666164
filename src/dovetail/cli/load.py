"""``dovetail store load``: many files into a store, several at a time.

JSON document (``--json``): ``{url, loaded: [{key, file, nbytes}], failed: [{file, reason}],
nbytes, seconds}``.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from dovetail.cli.output import AsJson, print_json, printable, sentence
from dovetail.quantities import in_bytes, in_seconds

SUFFIXES = (".safetensors", ".npy", ".npz")


def load(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="Such as shm://name or file:///folder.")
    ],
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", exists=True, help="Files and folders.")
    ],
    prefix: Annotated[str, typer.Option(help="Put before every key.")] = "",
    workers: Annotated[int, typer.Option(min=1, help="Files at a time.")] = min(
        8, os.cpu_count() or 1
    ),
    as_json: AsJson = False,
) -> None:
    """Publish files as values: .safetensors, .npy, .npz; all others as arrays of bytes.

    The key of a file is its path relative to the folder that was named, without those suffixes.
    Hidden files are left out. Files that cannot be loaded are reported after the others were.
    """
    import dovetail as dv
    from dovetail.cli.files import read_file

    files = _files_by_key(paths, prefix)
    loaded: list[tuple[str, Path, int]] = []
    failed: list[tuple[Path, str]] = []
    started = time.perf_counter()
    with dv.open_store(url) as store:

        def publish(key: str) -> int:
            value = read_file(files[key])
            store.put(key, value)
            return value.nbytes

        with (
            _progress(len(files)) as advance,
            ThreadPoolExecutor(workers) as pool,
        ):
            for key, future in _as_they_end(pool, publish, list(files), 4 * workers):
                try:
                    loaded.append((key, files[key], future.result()))
                except (dv.DovetailError, OSError) as error:
                    failed.append((files[key], sentence(error)))
                advance()
    seconds = time.perf_counter() - started
    total = sum(nbytes for _, _, nbytes in loaded)
    if as_json:
        print_json(
            {
                "url": url,
                "loaded": [
                    {"key": key, "file": str(path), "nbytes": nbytes}
                    for key, path, nbytes in sorted(loaded)
                ],
                "failed": [{"file": str(path), "reason": reason} for path, reason in failed],
                "nbytes": total,
                "seconds": seconds,
            }
        )
    else:
        print(f"loaded {len(loaded)} files, {in_bytes(total)}, in {in_seconds(seconds)}")
    for path, reason in failed:
        print(f"dovetail: {printable(str(path))}: {reason}", file=sys.stderr)
    if failed:
        raise typer.Exit(1)


def _files_by_key(paths: list[Path], prefix: str) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in paths:
        for file, relative in _files_below(path):
            name = relative.as_posix()
            if relative.suffix in SUFFIXES:
                name = name.removesuffix(relative.suffix)
            key = prefix + name
            if key in files and files[key] != file:
                raise typer.BadParameter(
                    f"{files[key]} and {file} would both be stored under {key!r}: "
                    "load them apart, with a --prefix"
                )
            files[key] = file
    return files


def _files_below(path: Path) -> Iterator[tuple[Path, Path]]:
    """Files with the paths that name them."""
    if not path.is_dir():
        yield path, Path(path.name)
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            file = Path(folder, name)
            if not name.startswith(".") and file.is_file():
                yield file, file.relative_to(path)


def _as_they_end(
    pool: ThreadPoolExecutor, work: Callable[[str], int], keys: list[str], most: int
) -> Iterator[tuple[str, Future[int]]]:
    """Results in the order in which they come, with at most `most` under way."""
    under_way: dict[Future[int], str] = {}
    waiting = iter(keys)
    while True:
        for key in waiting:
            under_way[pool.submit(work, key)] = key
            if len(under_way) >= most:
                break
        if not under_way:
            return
        done, _ = wait(under_way, return_when=FIRST_COMPLETED)
        for future in done:
            yield under_way.pop(future), future


@contextmanager
def _progress(count: int) -> Iterator[Callable[[], None]]:
    """A bar on standard error where that is a terminal; gives what advances it by one."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    with Progress(
        "loading",
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    ) as progress:
        task = progress.add_task("", total=count)
        yield lambda: progress.advance(task)
