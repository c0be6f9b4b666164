"""The one port that linked systems share: a server with TLS and a token, described.

One side starts it; the other side needs its address and the two files of the *link*: the
certificate, by which it knows the server, and the token, by which the server knows it. Streams and
stores on it are ``rediss://`` places; :mod:`dovetail.transport.relay` carries others to and from
them.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from dovetail.errors import EngineUnavailableError, InvalidURLError
from dovetail.transport.engines.redis import server
from dovetail.transport.serving import ServerDescription

PORT = 6390
NAME = "dovetail-gateway"
"""Whom the certificate names: clients ask for it, by whatever address they come."""
CERTIFICATE, TOKEN = "certificate.pem", "token"
DAYS = 365
PATIENCE = 600.0
_ALLOWED = (
    *("~*", "&*", "+@all", "-@admin", "+client|kill"),
    *("-flushall", "-flushdb", "-swapdb", "-migrate"),
)
"""What the token opens: values, lists and news; neither settings, nor files, nor other hosts."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """A server at the edge of a system, and what opens it."""

    server: ServerDescription
    link: Path
    """The folder with the certificate and the token, for both sides."""
    host: str
    port: int

    def url(self, name: str) -> str:
        """A stream or a store, for processes that see the folder of the gateway."""
        return gateway_url(self.host, self.port, name, self.link)


def gateway_url(host: str, port: int, name: str, link: str | os.PathLike[str]) -> str:
    """The URL of a stream or a store on a gateway.

    Parameters
    ----------
    host, port
        Where it is reached from here: its own address, or that of a tunnel to it.
    link
        The folder with the certificate and the token.
    """
    files = quote(os.fspath(link), safe="/")
    shown = f"[{host}]" if ":" in host else host
    return (
        f"rediss://{shown}:{port}/{quote(name, safe='')}?ca={files}/{CERTIFICATE}"
        f"&password_file={files}/{TOKEN}&server_name={NAME}"
    )


def describe(
    folder: Path,
    *,
    interface: str = "lo",
    port: int = PORT,
    capacity: int | None = None,
    persistent: bool = False,
    patience: float = PATIENCE,
) -> Gateway:
    """The server of a gateway; its certificate and token are made unless they are there.

    Parameters
    ----------
    folder
        Where everything of it lies, for this user alone. It stays, so that the other side need
        not be told anew.
    interface
        The name or the address of the one interface on which it listens.
    capacity
        The most bytes of values that it holds; half of the available memory by default. Then
        puts there raise StoreFullError.
    persistent
        Whether what it holds outlives it; each change is then written to the disk first.
    patience
        Seconds for which the link may be cut before those behind it count as lost. A process
        that dies while the link is there is missed at once.

    Raises
    ------
    InvalidURLError
        If there is no such interface.
    EngineUnavailableError
        If there is no server program here, or no ``openssl``.
    """
    program = _program_with_tls()
    if not 1 <= port <= 65535:
        raise InvalidURLError(f"port={port}: a port is 1 to 65535")
    host = server.ip_of(interface)
    folder = folder.absolute()
    link, own = folder / "link", folder / "server"
    for made in (folder, link, own):
        made.mkdir(mode=0o700, parents=True, exist_ok=True)
    _make_certificate(own / "key.pem", link / CERTIFICATE)
    token = _token(link / TOKEN)
    settings = own / "server.conf"
    lines = [
        f"bind {host}",
        "port 0",
        f"tls-port {port}",
        f"tls-cert-file {server.quoted(link / CERTIFICATE)}",
        f"tls-key-file {server.quoted(own / 'key.pem')}",
        "tls-auth-clients no",
        'tls-protocols "TLSv1.2 TLSv1.3"',
        f"user default reset on #{hashlib.sha256(token.encode()).hexdigest()} {' '.join(_ALLOWED)}",
        f"maxmemory {(capacity or server.default_capacity()) + server.OWN_NBYTES}",
        "maxmemory-policy noeviction",
        'save ""',
        f"appendonly {'yes' if persistent else 'no'}",
        "appendfsync always",
        f"dir {server.quoted(own)}",
        "daemonize no",
        'logfile ""',
        # The kernel asks after so many seconds, and three times more, a third of them apart.
        f"tcp-keepalive {max(1, round(patience / 2))}",
    ]
    description = ServerDescription(
        command=(program, str(settings)),
        url=gateway_url(host, port, "default", link),
        folder=own,
        url_of=lambda name: gateway_url(host, port, name, link),
        files={settings: "\n".join(lines) + "\n"},
        keeps=True,
    )
    return Gateway(description, link, host, port)


def _program_with_tls() -> str:
    """The first server program of this machine that was built with TLS.

    Raises
    ------
    EngineUnavailableError
    """
    folders = os.environ.get("PATH", os.defpath).split(os.pathsep)
    found = [
        program
        for name in server.PROGRAMS
        for folder in folders
        if (program := shutil.which(name, path=folder))
    ]
    for program in dict.fromkeys(found):
        # Without a place to listen on, it ends at once: with the setting that it does not know.
        attempt = subprocess.run(
            [program, "-"],
            input='port 0\ntls-port 0\nsave ""\n',
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        if "tls-port" not in attempt.stdout + attempt.stderr:
            return program
    without = f" ({', '.join(found)}: built without TLS)" if found else ""
    raise EngineUnavailableError(
        f"there is no server program with TLS here{without}: install Redis or Valkey of this "
        f"system (Debian: redis-server)"
    )


def _make_certificate(key: Path, certificate: Path) -> None:
    """A key, and a certificate that says it is the gateway's."""
    if key.exists() and certificate.exists():
        return
    openssl = shutil.which("openssl")
    if openssl is None:
        raise EngineUnavailableError(
            "the program openssl, which makes the certificate of a gateway, is not installed here "
            f"(Debian: openssl). Or make {certificate} and {key} for the name {NAME} elsewhere"
        )
    made = subprocess.run(
        [
            *(openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
            *("-nodes", "-days", str(DAYS), "-subj", f"/CN={NAME}"),
            *("-addext", f"subjectAltName=DNS:{NAME}", "-keyout", key, "-out", certificate),
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        umask=0o077,
        timeout=60,
        check=False,
    )
    if made.returncode:
        raise EngineUnavailableError(f"openssl made no certificate: {made.stderr.strip()[-300:]}")


def _token(file: Path) -> str:
    """The token in a file; a new one if there is none."""
    if not file.exists():
        with open(file, "x", opener=lambda path, flags: os.open(path, flags, 0o600)) as new:
            new.write(secrets.token_hex(32) + "\n")
    return file.read_text().strip()
