"""A program inside a Dragon runtime, which no server waits for: see test_inside.py."""

from __future__ import annotations

import multiprocessing
import sys

import dragon  # noqa: F401  (gives multiprocessing a start method)
import numpy as np

import dovetail as dv


def work(url: str, number: int) -> None:
    """Put a small and a large value from a process of the runtime."""
    with dv.open_store(url) as store:
        store.put(f"small{number}", number)
        store.put(f"large{number}", np.full(100_000, number))
        store.append("done", str(number))


def main(url: str, ending: str) -> None:
    multiprocessing.set_start_method("dragon")
    with dv.open_store(url) as store:
        workers = [multiprocessing.Process(target=work, args=(url, n)) for n in range(3)]
        for worker in workers:
            worker.start()
        store.wait_items("done", 3, 60)
        for worker in workers:
            worker.join()
        assert sorted(store.items("done")) == ["0", "1", "2"]
        for number in range(3):
            assert int(store.get_array(f"small{number}")) == number
            assert (store.get_array(f"large{number}") == number).all()
        with dv.open_stream(url, "w", timeout=60) as out:
            with out.step() as step:
                step["u"] = np.arange(3)
            with dv.open_stream(url, "r", timeout=60) as reader:
                step = reader.next_step()
                assert step is not None
                assert (step["u"] == np.arange(3)).all()
        if ending == "destroy":
            store.destroy()
    print("all is well", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
