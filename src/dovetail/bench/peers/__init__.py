"""What the engine is measured beside. One file a peer; each keeps the contract :class:`Peer`."""

from dovetail.bench.peers.contract import Peer, Scene
from dovetail.bench.peers.engine import EnginePeer
from dovetail.bench.peers.memcpy import Memcpy
from dovetail.bench.peers.redis import RedisPeer
from dovetail.bench.peers.unix_socket import UnixSocket


def all_peers() -> list[Peer]:
    """Every peer that a benchmark can run beside, whether or not it is installed."""
    return [EnginePeer("shm"), Memcpy(), UnixSocket(), RedisPeer("client"), RedisPeer("raw")]


__all__ = ["EnginePeer", "Memcpy", "Peer", "RedisPeer", "Scene", "UnixSocket", "all_peers"]
