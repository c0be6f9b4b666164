"""Models: publish them from a trainer, follow them in a running simulation, guard what they say.

::

    trainer                          store                        simulation, between two steps
    publish_model(store, name, …) →  models/<name>, one value  →  FollowedModel.refresh()
                                     version 1, 2, 3 …             layout? finite? gate?  → in force
                                                                  Guard: trusted inputs? → model
                                                                         otherwise       → physics
"""

from dovetail.model.following import FollowedModel, FollowStatistics, Refusal
from dovetail.model.gate import Gate, ValidationGate
from dovetail.model.guard import Guard, GuardStatistics, Verdict
from dovetail.model.publishing import publish_model
from dovetail.model.ranges import InputRange

__all__ = [
    "FollowStatistics",
    "FollowedModel",
    "Gate",
    "Guard",
    "GuardStatistics",
    "InputRange",
    "Refusal",
    "ValidationGate",
    "Verdict",
    "publish_model",
]
