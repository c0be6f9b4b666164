"""The folder of an example is on the path of its tests, as it is on that of its scripts."""

import sys
from pathlib import Path

CLOSURE = Path(__file__).resolve().parents[2] / "examples" / "closure"
sys.path.insert(0, str(CLOSURE))
