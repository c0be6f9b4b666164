"""A rank that shares a model, on command: ``python shared_rank.py PATH OPTIONS`` (JSON).

Each line of the standard input is a command, and each answer a line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from model.inputs import inputs_of

import dovetail as dv


class Rank:
    def __init__(self, path: str, options: dict[str, Any]) -> None:
        self.model: Any = dv.load_model(path, device="cpu", shared=True, **options)
        self.called = self.model

    def run(self, batch: int, seed: int) -> list[str]:
        return [one.tobytes().hex() for one in self.called(*inputs_of(batch, seed))]

    def follow(self, url: str) -> int:
        self.store = dv.open_store(url)
        self.called = dv.FollowedModel(self.store, "closure", self.model, use_initial=True)
        return self.refresh()

    def refresh(self) -> int:
        self.called.refresh()
        return int(self.called.version)

    def statistics(self) -> dict[str, int]:
        return dict(self.model.statistics()._asdict())

    def fork(self) -> str:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                self.run(1, 0)
                said = "answered"
            except Exception as error:
                said = f"{type(error).__name__}: {error}"
            os.write(writing, said.encode())
            os._exit(0)
        os.waitpid(child, 0)
        return os.read(reading, 1000).decode()

    def close(self) -> None:
        self.model.close()


def main() -> None:
    rank = None
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                if name == "load":
                    rank = Rank(*arguments)
                    answer: Any = None
                else:
                    answer = getattr(rank, name)(*arguments)
                said: dict[str, Any] = {"answer": answer}
            except Exception as error:
                said = {"error": f"{type(error).__name__}: {error}"}
        said["warnings"] = [str(one.message) for one in caught]
        print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
