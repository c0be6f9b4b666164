"""Child servers in namespaces of their own."""

from __future__ import annotations

import os

_OWN_USER = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]

OWN_MOUNTS = ["unshare", *_OWN_USER, "--mount", "--propagation", "private"]
"""A command prefix: mounts made by the children are seen by nobody else."""

OWN_PIDS = ["unshare", *_OWN_USER, "--pid", "--fork", "--kill-child", "--mount-proc"]
"""A command prefix: a container's worth of process numbers; /dev/shm is shared."""
