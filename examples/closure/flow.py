"""The whole example as one workflow: what runs, and what goes from whom to whom.

    dovetail run examples/closure/flow.py                             # four minutes on two cores
    dovetail run examples/closure/flow.py --set trainer.minutes=20    # longer training
    dovetail run examples/closure/quick.py                            # a small flow, twenty seconds

``flow.yaml`` says the same.
"""

from __future__ import annotations

import dovetail as dv

MEMBERS = {"member_1": 1, "member_2": 2}
"""Names of the streams of the simulations that are learned from, and their seeds."""

HELD_OUT = [11, 12, 13]
"""Seeds of the simulations that nothing learns from: one stream, three ranks."""

IN_THE_RUN = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "FLUIDSIM_PATH": "{run}/scratch",
    "FLUIDDYN_PATH_WARNING": "{run}/scratch",
    "TORCHINDUCTOR_CACHE_DIR": "{run}/scratch",
}
"""A thread each: there are more programs than most laptops have cores. And no files elsewhere."""


def closure(case: str, minutes: float) -> dv.Workflow:
    """The example with one of the cases of :mod:`cases`, and so many minutes of training."""
    flow = dv.Workflow(
        "closure",
        stores={"models": "shm://", "results": "file://{run}/results"},
        streams={**dict.fromkeys(MEMBERS, "shm://"), "held_out": "shm://"},
    )
    for number, (stream, seed) in enumerate(MEMBERS.items(), start=1):
        flow.add(
            f"dns_{number}",
            function="dns:main",
            arguments={"stream": stream, "case": case, "seeds": [seed]},
            writes=[stream],
            stores=["results"],
            environment=IN_THE_RUN,
        )
    flow.add(
        "dns_held_out",
        function="dns:main",
        arguments={"stream": "held_out", "case": case, "seeds": HELD_OUT, "endless": False},
        process_count=len(HELD_OUT),
        writes=["held_out"],
        stores=["results"],
        environment=IN_THE_RUN,
    )
    flow.add(
        "trainer",
        function="trainer:main",
        arguments={
            "case": case,
            "minutes": minutes,
            "learn_from": list(MEMBERS),
            "hold_out": "held_out",
        },
        reads=[*MEMBERS, "held_out"],
        stores=["models", "results"],
        on_failure="restart(2)",
        environment=IN_THE_RUN,
    )
    flow.add(
        "les",
        function="les:main",
        arguments={"case": case, "tune_on": list(MEMBERS), "judge_on": "held_out"},
        reads=[*MEMBERS, "held_out"],
        stores=["models", "results"],
        environment=IN_THE_RUN,
    )
    return flow


flow = closure("full", minutes=2.1)
