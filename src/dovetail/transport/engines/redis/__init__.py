"""Redis and Valkey (``redis://``, ``rediss://``, ``redis+unix://``, ``redis+cluster://``).

A value is one string of safetensors bytes; ``docs/engines/redis-key-layout.md`` says what lies
where. The protocol is spoken here, so that values are neither joined nor copied on their way.
"""

from dovetail.transport.engines.redis.engine import ENGINE

__all__ = ["ENGINE"]
