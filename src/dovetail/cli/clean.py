"""``dovetail clean``: what dead processes left in shared memory.

JSON document (``--json``): ``{removed, nbytes, leftovers: [{path, kind, nbytes, reason}]}``;
``removed`` is false with ``--dry-run``.
"""

from __future__ import annotations

from typing import Annotated

import typer

from dovetail.cli.output import AsJson, print_json, print_table
from dovetail.quantities import in_bytes


def clean(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove what dead processes left in shared memory, and only that.

    Values of a store are nobody's leftovers: they stay until they are removed with
    "dovetail store rm" or "dovetail store destroy".
    """
    from dovetail.transport import registry

    found = registry.leftovers(remove=not dry_run)
    total = sum(leftover.nbytes for leftover in found)
    if as_json:
        print_json(
            {
                "removed": not dry_run,
                "nbytes": total,
                "leftovers": [
                    leftover._asdict() | {"path": str(leftover.path)} for leftover in found
                ],
            }
        )
        return
    if found:
        print_table(
            ["PATH", "KIND", "SIZE>", "REASON"],
            [
                (leftover.path, leftover.kind, in_bytes(leftover.nbytes), leftover.reason)
                for leftover in found
            ],
        )
        print()
    print(f"{'would free' if dry_run else 'freed'} {in_bytes(total)}")
