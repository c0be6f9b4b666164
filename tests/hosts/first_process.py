"""The first process of a host: makes what the host has of its own, and waits for its end.

Run in new namespaces with the name of the host and a line for each host that it knows. It says
``ready``; when its input ends, so does the host with every process on it.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
import uuid
from pathlib import Path

OWN = Path("/run/host")
"""A folder that each host has for itself."""
_SET_FLAGS, _UP_AND_RUNNING = 0x8914, 0x41


def main(name: str, known: list[str]) -> None:
    for folder, size in (("/run", "16m"), ("/dev/shm", "12g")):
        _mount("-t", "tmpfs", "-o", f"size={size},mode=1777", name, folder)
    for folder in (OWN, OWN / "cgroup", Path("/run/sshd")):
        folder.mkdir(mode=0o755)
    # What /sys says of interfaces is of the network namespace in which it was mounted.
    _mount("--rbind", "/sys/fs/cgroup", str(OWN / "cgroup"))
    _mount("-t", "sysfs", name, "/sys")
    _mount("--rbind", str(OWN / "cgroup"), "/sys/fs/cgroup")
    socket.sethostname(name)
    os.chdir("/")
    _instead_of("/proc/sys/kernel/random/boot_id", f"{uuid.uuid4()}\n")
    _instead_of("/etc/hosts", "\n".join(["127.0.0.1 localhost", *known, ""]))
    Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP_AND_RUNNING))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # orphans leave without being waited for
    print("ready", flush=True)
    sys.stdin.read()


def _instead_of(path: str, text: str) -> None:
    """This text where other hosts have another."""
    own = OWN / Path(path).name
    own.write_text(text)
    _mount("--bind", str(own), path)


def _mount(*words: str) -> None:
    subprocess.run(["mount", *words], check=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
