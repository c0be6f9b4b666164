"""Hosts: namespaces with a name, an address, shared memory, processes and an sshd of their own.

They share this machine's file system, as the nodes of a cluster share theirs, but ``/dev/shm`` and
``/run``. A host ends with its first process, and that with the test session, whatever becomes of
it: nothing of it has a name outside.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from hosts import first_process
from hosts.network import INTERFACE, Switch

from dovetail.testing.children import ChildServer, wait_until

SSHD = "/usr/sbin/sshd"
_FIRST = Path(first_process.__file__)
_SSHD_CONFIG = """\
HostKey {key}
AuthorizedKeysFile {key}.pub
PermitRootLogin yes
StrictModes no
UsePAM no
PidFile none
ListenAddress {address}
LogLevel ERROR
AcceptEnv *
"""
_SSH_CONFIG = """\
Host *
    IdentityFile {key}
    IdentitiesOnly yes
    StrictHostKeyChecking no
    UserKnownHostsFile /dev/null
    BatchMode yes
    ConnectTimeout 20
    LogLevel ERROR
"""


class Program(subprocess.Popen[Any]):
    """A program on a host. It does not outlive its ``with`` block."""

    def __exit__(self, *reason: object) -> None:
        self.kill()
        super().__exit__(*reason)

    @property
    def process(self) -> psutil.Process:
        """The program itself: Popen knows what brought it onto its host."""
        wait_until(lambda: psutil.Process(self.pid).children(), "the program to start")
        (itself,) = psutil.Process(self.pid).children()
        return itself


class Host:
    """One host.

    Parameters
    ----------
    known
        Addresses of all hosts by name: what its /etc/hosts says.
    key
        A private key that opens every host.
    """

    def __init__(self, name: str, address: str, known: Mapping[str, str], key: Path) -> None:
        self.name = name
        self.address = address
        self._first = subprocess.Popen(
            [
                *("unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork"),
                *("--kill-child", "--mount-proc", "--propagation", "private"),
                *(sys.executable, "-I", str(_FIRST), name),
                *(f"{address} {name}" for name, address in known.items()),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._first.stdout is not None
        assert self._first.stdout.readline() == "ready\n", f"host {name} did not come up"
        (first,) = psutil.Process(self._first.pid).children()
        self.process = first.pid
        """Its first process, as numbered outside."""
        self._key = key

    def prefix(self) -> list[str]:
        """What makes a command run on this host; it is killed with what runs the prefix."""
        return [
            *("nsenter", "--target", str(self.process)),
            *("--net", "--mount", "--uts", "--ipc", "--pid"),
            *("setpriv", "--pdeathsig", "KILL"),
        ]

    def start(self, words: Sequence[str], **options: Any) -> Program:
        """Start a program on this host; with the options of Popen."""
        folder = str(options.pop("cwd", None) or os.getcwd())
        return Program([*self.prefix(), "env", "--chdir", folder, *words], **options)

    def run(
        self, words: Sequence[str], timeout: float = 60, **options: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run a program on this host to its end; its output as text."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, **options}
        with self.start(words, **options) as program:
            printed, errors = program.communicate(timeout=timeout)
        return subprocess.CompletedProcess(list(words), program.returncode, printed, errors)

    def children(self, preload: Sequence[str] = ()) -> ChildServer:
        """Makes children on this host; to be closed."""
        return ChildServer(preload, self.prefix())

    def let_others_in(self) -> None:
        """Start its sshd."""
        config = _SSHD_CONFIG.format(key=self._key, address=self.address)
        self._write("/run/host/sshd_config", config)
        self._write("/run/host/ssh_config", _SSH_CONFIG.format(key=self._key))
        mount = ["mount", "--bind", "/run/host/ssh_config", "/etc/ssh/ssh_config"]
        assert self.run(mount).returncode == 0
        assert self.run([SSHD, "-f", "/run/host/sshd_config"]).returncode == 0

    def _write(self, path: str, text: str) -> None:
        with self.start(["tee", path], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as tee:
            tee.communicate(text.encode(), timeout=30)

    def close(self) -> None:
        """Power off."""
        assert self._first.stdin is not None
        assert self._first.stdout is not None
        self._first.stdin.close()
        self._first.stdout.close()
        self._first.wait(30)

    def __str__(self) -> str:
        return self.name


class Hosts:
    """Several hosts on one switch.

    Parameters
    ----------
    names
        Of the hosts.
    network
        The first three numbers of their addresses.
    folder
        Where their key lies while they are there.
    """

    def __init__(self, names: Sequence[str], network: str, folder: Path) -> None:
        key = folder / f"key-of-{names[0]}"
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True, timeout=30
        )
        self.names = list(names)
        self._closing = contextlib.ExitStack()
        self._closing.callback(_remove, key)
        with contextlib.ExitStack() as failing:
            failing.push(self._closing.__exit__)
            known = {name: f"{network}.{number}" for number, name in enumerate(names, 1)}
            self.switch = Switch()
            self._closing.callback(self.switch.close)
            self._hosts: dict[str, Host] = {}
            for name, address in known.items():
                host = self._hosts[name] = Host(name, address, known, key)
                self._closing.callback(host.close)
                self.switch.plug(host.process, INTERFACE, name, f"{address}/24")
            for host in self:
                host.let_others_in()
            failing.pop_all()

    def __getitem__(self, name: str) -> Host:
        return self._hosts[name]

    def __iter__(self) -> Iterator[Host]:
        return iter(self._hosts.values())

    def address(self, name: str) -> str:
        return self[name].address

    def run(self, name: str, words: Sequence[str], **options: Any) -> str:
        """Run a program on a host; what it printed, if it ended well."""
        done = self[name].run(words, **options)
        assert done.returncode == 0, f"{words} on {name}: {done.returncode}\n{done.stdout}"
        return done.stdout

    def start(self, name: str, words: Sequence[str], **options: Any) -> Program:
        """Start a program on a host."""
        return self[name].start(words, **options)

    def slowed(
        self, delay: str = "20ms", rate: str = "100mbit"
    ) -> contextlib.AbstractContextManager[None]:
        """Slow links while it is entered; the delay is one way."""
        return self.switch.slowed(delay, rate)

    def cut(self, name: str) -> contextlib.AbstractContextManager[None]:
        """A host without a link while it is entered."""
        return self.switch.cut(name)

    def close(self) -> None:
        self._closing.close()


def _remove(key: Path) -> None:
    key.unlink()
    key.with_name(f"{key.name}.pub").unlink()
