"""The command ``dovetail``: a noun and a verb, for people and for scripts.

Every command prints a table for people, or with ``--json`` one JSON document on standard
output, whose keys are stable and are listed in the docstring of the module of its noun. What
goes wrong is one sentence on standard error and exit status 1; wrong usage is status 2.
``DOVETAIL_DEBUG=1`` shows the traceback as well.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run the command line and exit with its status."""
    from dovetail.cli.app import app
    from dovetail.cli.output import sentence
    from dovetail.errors import DovetailError

    try:
        app()
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (DovetailError, OSError) as error:
        if os.environ.get("DOVETAIL_DEBUG") == "1":
            raise
        print(f"dovetail: {sentence(error)}", file=sys.stderr)
        sys.exit(1)


__all__ = ["main"]
