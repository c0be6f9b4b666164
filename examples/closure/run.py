"""``dovetail run`` of this example, with a word for each of the things one may want to change.

    python examples/closure/run.py                   # four minutes on two cores
    python examples/closure/run.py --minutes 20      # twenty minutes of training
    python examples/closure/run.py --quick           # a small flow, twenty seconds

What it runs is in ``flow.py``; ``dovetail run examples/closure/flow.py --set trainer.minutes=20``
is the same as the second.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dovetail.cli import main as dovetail

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Say it in the words of ``dovetail run``."""
    parser = argparse.ArgumentParser(description="Learn a subgrid closure while a flow runs.")
    parser.add_argument("--minutes", type=float, metavar="M", help="of training")
    parser.add_argument("--quick", action="store_true", help="a small flow, to see that it runs")
    parser.add_argument("--output", metavar="DIR", help="the run's directory")
    asked = parser.parse_args()
    words = ["run", str(HERE / ("quick.py" if asked.quick else "flow.py"))]
    if asked.minutes is not None:
        words += ["--set", f"trainer.minutes={asked.minutes}"]
    if asked.output is not None:
        words += ["--output", asked.output]
    sys.argv = ["dovetail", *words]
    return dovetail()


if __name__ == "__main__":
    sys.exit(main())
