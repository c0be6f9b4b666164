"""What a reservoir can be told, and what is refused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from numbers import Integral
from typing import Any, Literal

PolicyName = Literal["fifo", "firo", "reservoir"]
Eviction = Literal["random", "oldest", "most_seen"]
NonFinite = Literal["refuse", "raise", "accept"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What decides which samples are drawn, and when; see :class:`~dovetail.Reservoir`.

    Raises
    ------
    ValueError, TypeError
    """

    capacity: int
    policy: PolicyName = "reservoir"
    watermark: int = 1
    max_reuse: int | None = None
    evict: Eviction = "random"
    max_staleness: int | None = None

    def __post_init__(self) -> None:
        check_whole("capacity", self.capacity)
        check_whole("watermark", self.watermark)
        if self.watermark > self.capacity:
            raise ValueError(
                f"watermark={self.watermark} is more than capacity={self.capacity}: so many "
                f"samples are never held, and none would ever be drawn"
            )
        for name in ("max_reuse", "max_staleness"):
            if (value := getattr(self, name)) is not None:
                check_whole(name, value)
        check_choice("policy", self.policy, ("reservoir", "fifo", "firo"))
        check_choice("evict", self.evict, ("random", "oldest", "most_seen"))
        replayed = self.max_reuse not in (None, 1) or self.max_staleness is not None
        if self.policy != "reservoir" and replayed:
            raise ValueError(
                f"policy={self.policy!r} gives each sample exactly once: max_reuse and "
                f"max_staleness belong to policy='reservoir'"
            )

    def check_same(self, saved: Mapping[str, Any]) -> None:
        """Refuse the settings of another reservoir.

        Raises
        ------
        ValueError
        """
        for name, value in asdict(self).items():
            if saved.get(name) != value:
                raise ValueError(
                    f"the state is of a reservoir with {name}={saved.get(name)!r}; "
                    f"this one has {name}={value!r}: make it with the same settings"
                )


def check_whole(name: str, value: object) -> None:
    """Refuse what is no whole number from 1 on."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name}={value!r} is no whole number")
    if value < 1:
        raise ValueError(f"{name}={value} must be at least 1")


def check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse what is none of `choices`."""
    if value not in choices:
        raise ValueError(f"{name}={value!r} is unknown; choose {', '.join(map(repr, choices))}")
