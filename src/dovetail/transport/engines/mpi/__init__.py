"""Streams between the components of one MPI job (``mpi://``), over MPI and nothing else.

One process, the *leader*, keeps what the participants of a stream say to each other. Blocks stay
in the memory of the writer rank that made them, and each reader rank fetches them from there.

==================  ============================================================================
module              holds
==================  ============================================================================
:mod:`.job`         the MPI library, as it must be, and the communicator that is used
:mod:`.messages`    how a message lies in the bytes that are sent
:mod:`.post`        messages between processes, and the thread that attends to them
:mod:`.leader`      what the leader keeps: logs, who is there, where blocks lie
:mod:`.copies`        copies of logs in the processes that follow them
:mod:`.blocks`      the blocks of this process
:mod:`.office`      all of these in one process, from its first stream to the end of MPI
:mod:`.medium`      a stream as its participants share it
==================  ============================================================================
"""

from dovetail.transport.engines.mpi.engine import ENGINE

__all__ = ["ENGINE"]
