"""How a builder may publish: a private folder with the registry's credentials, and nothing else of this process' environment."""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from windlass.errors import PermanentError

PASSED = (
    "PATH", "STORAGE_DRIVER", "BUILDAH_ISOLATION", "CONTAINERS_STORAGE_CONF", "CONTAINERS_REGISTRIES_CONF", "XDG_RUNTIME_DIR",
    "BUILDKIT_HOST", "DOCKER_HOST", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
)  # fmt: skip
"""Variables that say how this machine builds; none of them is a secret of Windlass'."""


class _Login(msgspec.Struct):
    auth: str = ""
    username: str = ""
    password: str = ""
    identitytoken: str = ""


class _File(msgspec.Struct):
    auths: dict[str, _Login]


def environment(home: Path, credentials: bytes | None) -> Mapping[str, str]:
    """The builder's whole environment. ``home`` must be a folder that nobody else can read.

    :raises PermanentError: the credentials are no file of `docker login`.
    """
    found = {name: os.environ[name] for name in PASSED if name in os.environ} | {
        "HOME": str(home),
        "DOCKER_CONFIG": str(home),
    }
    if credentials is None:
        return found
    _decoded(credentials)
    file = home / "config.json"
    file.write_bytes(credentials)
    file.chmod(0o600)
    return found | {"REGISTRY_AUTH_FILE": str(file)}


def secrets(credentials: bytes | None) -> Iterator[str]:
    """What of the credentials no log may show."""
    for login in _decoded(credentials).auths.values() if credentials is not None else ():
        yield from filter(None, (login.auth, login.password, login.identitytoken))
        try:
            yield base64.b64decode(login.auth, validate=True).decode().partition(":")[2]
        except (binascii.Error, UnicodeDecodeError):
            continue


def _decoded(credentials: bytes) -> _File:
    try:
        return msgspec.json.decode(credentials, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise PermanentError("spec.credentials: expected a file as `docker login` writes it, with auths") from None
