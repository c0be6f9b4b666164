"""The stream contract as one suite.

An engine's test module subclasses :class:`StreamContract` and provides the fixture ``url``.
A policy that the engine does not declare must be refused with
:class:`~dovetail.CapabilityError`.
"""

from __future__ import annotations

import dovetail as dv
from dovetail.testing.stream_endings import StreamEndings
from dovetail.testing.stream_groups import StreamGroups
from dovetail.testing.stream_onlookers import StreamOnlookers
from dovetail.testing.stream_policies import StreamPolicies
from dovetail.testing.stream_steps import StreamSteps
from dovetail.transport.contract import Capabilities

__all__ = ["StreamContract"]


class StreamContract(StreamSteps, StreamPolicies, StreamGroups, StreamEndings, StreamOnlookers):
    """All promises of a Stream.

    Fixtures to override
    --------------------
    url
        The URL of a stream that does not exist yet; required.
    """

    def test_both_ends_say_which_stream_they_are_of(
        self, stream: str, capabilities: Capabilities
    ) -> None:
        assert capabilities.stream
        with (
            dv.open_stream(stream, "w") as out,
            dv.open_stream(stream, "r") as reader,
        ):
            for end in (out, reader):
                assert end.url.split("?")[0] == stream.split("?", maxsplit=1)[0]
