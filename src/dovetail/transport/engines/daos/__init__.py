"""DAOS containers (``daos://``): plain files on the POSIX mount of a container.

======================  =====================================================================
module                  holds
======================  =====================================================================
:mod:`.mounts`          where containers are mounted on this node
:mod:`.places`          which folder a URL stands for
:mod:`.engine`          what ``daos://`` stands for
======================  =====================================================================
"""

from dovetail.transport.engines.daos.engine import ENGINE

__all__ = ["ENGINE"]
