"""Certificates for tests: an authority, a server, and a client."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Certificates:
    """Files in one folder."""

    folder: Path

    @property
    def ca(self) -> Path:
        return self.folder / "ca.crt"

    def cert(self, who: str) -> Path:
        return self.folder / f"{who}.crt"

    def key(self, who: str) -> Path:
        return self.folder / f"{who}.key"


def make(folder: Path) -> Certificates:
    """An authority, and what it signed for ``server`` (127.0.0.1, localhost) and ``client``."""
    folder.mkdir(exist_ok=True)
    made = Certificates(folder)
    names = folder / "names"
    names.write_text("subjectAltName=IP:127.0.0.1,DNS:localhost,DNS:fields.example\n")
    _openssl("req", "-x509", *_new_key(made.key("ca")), "-out", made.ca, "-days", "2",
             "-subj", "/CN=Test authority", "-addext", "basicConstraints=critical,CA:TRUE",
             "-addext", "keyUsage=critical,keyCertSign,cRLSign")  # fmt: skip
    for who in ("server", "client"):
        request = folder / f"{who}.csr"
        _openssl("req", *_new_key(made.key(who)), "-out", request, "-subj", f"/CN={who}")
        _openssl("x509", "-req", "-in", request, "-CA", made.ca, "-CAkey", made.key("ca"),
                 "-CAcreateserial", "-days", "2", "-extfile", names, "-out", made.cert(who),
                 )  # fmt: skip
    return made


def _new_key(path: Path) -> list[str | Path]:
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path]


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True, timeout=60)
