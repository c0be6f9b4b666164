"""Models: export, load and call them; publish, follow and guard them while a simulation runs.

::

    trainer                          store                        simulation, between two steps
    publish_model(store, name, …) →  models/<name>, one value  →  FollowedModel.refresh()
                                     version 1, 2, 3 …             layout? finite? gate?  → in force
                                                                  Guard: trusted inputs? → model
                                                                         otherwise       → physics
"""

from dovetail.model.compiled import ArraySpec, CompiledModel
from dovetail.model.exporting import export_model
from dovetail.model.following import FollowedModel, FollowStatistics, Refusal
from dovetail.model.gate import Gate, ValidationGate
from dovetail.model.guard import Guard, GuardStatistics, Verdict
from dovetail.model.loading import LoadedModel, load_model
from dovetail.model.publishing import publish_model
from dovetail.model.ranges import InputRange
from dovetail.model.shared import SharedModel, SharedStatistics

__all__ = [
    "ArraySpec",
    "CompiledModel",
    "FollowStatistics",
    "FollowedModel",
    "Gate",
    "Guard",
    "GuardStatistics",
    "InputRange",
    "LoadedModel",
    "Refusal",
    "SharedModel",
    "SharedStatistics",
    "ValidationGate",
    "Verdict",
    "export_model",
    "load_model",
    "publish_model",
]
