"""URLs of Redis and Valkey: where the server is, and how to be let in.

::

    redis://[user[:password]@]host[:port][/db][/name]
    rediss://…                                          with TLS
    redis+unix:///path/to/socket[?db=0&name=fields]
    redis+cluster://[user[:password]@]host[:port][,host[:port]…][/name]
"""

from __future__ import annotations

import os
import re
import ssl
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote, unquote

from dovetail.errors import InvalidURLError
from dovetail.transport.engines.redis.keys import DEFAULT_NAME, check_name
from dovetail.transport.url import URL

PORT = 6379
LONGEST_SOCKET = 107
"""Bytes of the path of a Unix socket."""
SCHEMES = ("redis", "rediss", "redis+unix", "redis+cluster")
_SECRETS = ("user", "password_file", "password_env")
_TLS = ("ca", "cert", "key", "server_name")
_COMMON = ("capacity", "chunk", *_SECRETS)
OPTIONS = {
    "redis": _COMMON,
    "rediss": (*_COMMON, *_TLS),
    "redis+unix": ("capacity", "db", "name", "chunk", *_SECRETS),
    "redis+cluster": (*_COMMON, "tls", *_TLS),
}
"""The options of each scheme."""

LARGEST_CHUNK = 512 << 20
"""Bytes; a server takes no longer string."""
DEFAULT_CHUNK = 256 << 20


@dataclass(frozen=True)
class Address:
    """One server: a host and a port, or a socket."""

    host: str = ""
    port: int = PORT
    socket: str = ""

    def __str__(self) -> str:
        if self.socket:
            return self.socket
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True)
class Access:
    """How to be let in. The password never shows."""

    user: str = ""
    password: str = field(default="", repr=False)
    tls: ssl.SSLContext | None = None
    server_name: str = ""
    """The name that the server's certificate must carry, if not that of the host."""


@dataclass(frozen=True)
class Place:
    """What a URL stands for."""

    addresses: tuple[Address, ...]
    access: Access
    cluster: bool
    db: int
    name: str
    chunk: int
    """Bytes; longer values are cut into pieces of this size."""
    capacity: int | None
    """What the URL says that the server holds at most."""
    url: str = field(repr=False)
    """What opens the store again; a password in it is kept."""
    label: str
    """The same without the password."""

    def named(self, name: str) -> Place:
        """The store of another name on the same servers."""
        return replace(self, name=check_name(name))


def place_of(url: URL) -> Place:
    """Read a URL.

    Raises
    ------
    InvalidURLError
    """
    url.only(*OPTIONS[url.scheme])
    capacity = url.bytes_option("capacity")
    chunk = url.bytes_option("chunk") or DEFAULT_CHUNK
    if not 1 <= chunk <= LARGEST_CHUNK:
        raise InvalidURLError(f"chunk={chunk}: a server takes at most {LARGEST_CHUNK >> 20}MiB")
    if url.scheme == "redis+unix":
        user, password = "", ""
        hosts, db, name = _socket(url)
    else:
        user, password, hosts, db, name = _hosts(url)
    user, password = _secrets(url, user, password)
    encrypted = url.scheme == "rediss" or (
        url.scheme == "redis+cluster" and url.choice_option("tls", "no", "yes") == "yes"
    )
    tls = _tls(url) if encrypted else None
    return Place(
        addresses=hosts,
        access=Access(user, password, tls, url.options.get("server_name", "")),
        cluster=url.scheme == "redis+cluster",
        db=db,
        name=name,
        chunk=chunk,
        capacity=capacity,
        url=str(_absolute(url)),
        label=label_of(url),
    )


def label_of(url: URL) -> str:
    """The URL as it may be shown: without a password and without options."""
    name = url.options.get("name")
    return f"{url.scheme}://{shown(url).location}{f'?name={name}' if name else ''}"


def shown(url: URL) -> URL:
    """The same URL without the password in it, for whatever may show it."""
    account, at, rest = url.location.rpartition("@")
    if not at or url.scheme == "redis+unix":
        return url
    user = account.partition(":")[0]
    return URL(url.scheme, f"{user}@{rest}" if user else rest, url.options)


def url_of(address: Address, name: str, password_file: str | os.PathLike[str] | None = None) -> URL:
    """The URL of a store on a server of ours."""
    options = {}
    if password_file is not None:
        options["password_file"] = os.fspath(password_file)
    if address.socket:
        return URL("redis+unix", address.socket, {"name": name, **options})
    return URL("redis", f"{address}/{quote(name)}", options)


def _hosts(url: URL) -> tuple[str, str, tuple[Address, ...], int, str]:
    account, _, rest = url.location.rpartition("@")
    user, _, password = account.partition(":")
    hosts, *parts = rest.split("/")
    parts = [part for part in parts if part]
    db = 0
    if url.scheme != "redis+cluster" and parts and parts[0].isascii() and parts[0].isdigit():
        db = int(parts.pop(0)[:9])
    if len(parts) > 1:
        raise InvalidURLError(
            f"{label_of(url)} has {len(parts)} parts where one name is expected: write "
            f"{url.scheme}://host:port/name"
        )
    if not hosts:
        raise InvalidURLError(
            f"{url.scheme}:// needs a host: write {url.scheme}://host:port/name. (In a workflow "
            f"redis:// alone starts a server for the run.)"
        )
    listed = hosts.split(",") if url.scheme == "redis+cluster" else [hosts]
    name = check_name(unquote(parts[0]) if parts else DEFAULT_NAME)
    addresses = tuple(_address(text, url) for text in listed)
    return unquote(user), unquote(password), addresses, db, name


def _address(text: str, url: URL) -> Address:
    match = re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^:\[\]\s]+)(?::([0-9]{1,5}))?", text)
    port = int(match[2] or PORT) if match else 0
    if match is None or not 1 <= port <= 65535:
        raise InvalidURLError(
            f"{text[:80]!r} in {label_of(url)} is no host and port: write host:port"
        )
    return Address(match[1].strip("[]"), port)


def _socket(url: URL) -> tuple[tuple[Address, ...], int, str]:
    path = url.location
    if not path.startswith("/") or "\0" in path:
        raise InvalidURLError(
            f"{label_of(url)} must name an absolute path: write redis+unix:///path/to/socket, "
            f"with three slashes"
        )
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        raise InvalidURLError(
            f"the path of the socket {path[:80]}… has {len(os.fsencode(path))} bytes; the system "
            f"takes {LONGEST_SOCKET}: put it into a shorter folder"
        )
    db = url.options.get("db", "0")
    if not re.fullmatch("[0-9]{1,9}", db):
        raise InvalidURLError(f"db={db!r} is no number of a database")
    name = check_name(url.options.get("name", DEFAULT_NAME))
    return (Address(socket=path),), int(db), name


def _secrets(url: URL, user: str, password: str) -> tuple[str, str]:
    options = url.options
    given = [name for name in ("password_file", "password_env") if name in options]
    if len(given) + bool(password) > 1:
        raise InvalidURLError(
            "give the password once: in the URL, or as password_file, or as password_env"
        )
    if user and "user" in options:
        raise InvalidURLError("give the user once: in the URL, or as an option")
    if "password_file" in options:
        try:
            password = Path(options["password_file"]).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise InvalidURLError(f"password_file={options['password_file']}: {error}") from None
    if "password_env" in options:
        variable = options["password_env"]
        if variable not in os.environ:
            raise InvalidURLError(f"password_env={variable}: there is no such variable; set it")
        password = os.environ[variable]
    return user or options.get("user", ""), password


def _tls(url: URL) -> ssl.SSLContext:
    options = url.options
    if ("cert" in options) != ("key" in options):
        raise InvalidURLError("cert and key belong together: give both, or neither")
    try:
        context = ssl.create_default_context(cafile=options.get("ca"))
        if "cert" in options:
            context.load_cert_chain(options["cert"], options["key"], password="")
    except (OSError, ValueError) as error:  # an SSLError is an OSError
        files = ", ".join(f"{name}={options[name]}" for name in _TLS[:3] if name in options)
        raise InvalidURLError(f"{files or 'TLS'} cannot be used: {error}") from None
    return context


def _absolute(url: URL) -> URL:
    """The same with files named so that every process finds them."""
    files = ("password_file", "ca", "cert", "key")
    options = {
        name: str(Path(text).absolute()) if name in files else text
        for name, text in url.options.items()
    }
    return URL(url.scheme, url.location, options)
