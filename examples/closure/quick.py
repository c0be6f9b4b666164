"""The example with a smaller flow and eight seconds of training: to see that it runs."""

from __future__ import annotations

from flow import closure

flow = closure("quick", minutes=0.13)
