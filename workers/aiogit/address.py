"""Which addresses may be asked at all, decided before any of them reaches a library or a command line.

What must hold: only https, http and ssh; nothing that a program could read as an option; no credentials in the address
(they would end up in logs); and one origin, which alone is ever shown the credentials.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import urlsplit

from workers.aiogit.errors import RefNotFoundError, RefusedUrlError

_UNPRINTABLE = re.compile(r"[\x00-\x20\x7f-\x9f\\\"'`$;|<>{}]")
_SCP = re.compile(r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.-]*)@)?(?P<host>[A-Za-z0-9][A-Za-z0-9.-]*):(?P<path>[^:]+)")
_HOST = re.compile(r"[A-Za-z0-9][A-Za-z0-9.-]*|[0-9A-Fa-f:.]+")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_PORTS = {"https": 443, "http": 80, "ssh": 22}
_OBJECT_ID = re.compile(r"[0-9a-f]{40}")
_BAD_REF = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|/\.|\.lock(?:/|$)|\.$|/$")


@dataclass(frozen=True)
class Address:
    """A checked address. ``url`` is what programs are given; ``str()`` of it is fit for logs."""

    scheme: str
    host: str
    port: int
    path: str
    user: str | None = None
    scp: bool = False
    """Written as ``user@host:path``, whose path is relative to the user's home."""

    @property
    def origin(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if _PORTS[self.scheme] == self.port else f":{self.port}"
        return f"{self.scheme}://{host}{port}"

    @property
    def url(self) -> str:
        user = f"{self.user}@" if self.user else ""
        if self.scp:
            return f"{user}{self.host}:{self.path[1:]}"
        return self.origin.replace("://", f"://{user}", 1) + self.path

    def __str__(self) -> str:
        return self.origin + self.path


def parse_address(url: str) -> Address:
    """Check ``url`` and take it apart.

    :raises RefusedUrlError: anything but a plain https, http, ssh or ``user@host:path`` address.
    """
    if _UNPRINTABLE.search(url) or len(url) > 2048:
        raise RefusedUrlError("the repository's address has characters that do not belong in one")
    if "://" not in url:
        scp = _SCP.fullmatch(url)
        if scp is None:
            raise RefusedUrlError("the repository's address is not an https, http or ssh one")
        return _checked("ssh", scp["host"], None, "/" + scp["path"], scp["user"], scp=True)
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise RefusedUrlError("the repository's address can't be read") from None
    if parts.scheme not in _PORTS:
        raise RefusedUrlError("the repository's address is not an https, http or ssh one")
    if parts.query or parts.fragment:
        raise RefusedUrlError("the repository's address must have no query and no fragment")
    if parts.password is not None or (parts.scheme != "ssh" and parts.username is not None):
        raise RefusedUrlError("the repository's address must not hold credentials: they belong into `credentials`")
    return _checked(parts.scheme, parts.hostname or "", port, parts.path, parts.username)


def _checked(scheme: str, host: str, port: int | None, path: str, user: str | None, *, scp: bool = False) -> Address:
    if not _HOST.fullmatch(host):
        raise RefusedUrlError("the repository's address has no proper host")
    if user is not None and not _USER.fullmatch(user):
        raise RefusedUrlError("the repository's address has no proper user")
    segments = path.split("/")[1:]
    if not path.strip("/") or any(part in (".", "..") or part.startswith("-") for part in segments):
        raise RefusedUrlError("the repository's address has no proper path")
    return Address(scheme, host.lower(), port or _PORTS[scheme], path.rstrip("/"), user, scp)


def is_object_id(text: str) -> bool:
    """Is it a full SHA-1 object id?"""
    return _OBJECT_ID.fullmatch(text) is not None


def check_ref(ref: str) -> str:
    """``ref`` if it is a full ref name (``refs/...``, ``HEAD``) or an object id; the rules of git-check-ref-format(1).

    :raises RefNotFoundError: it is not; such a ref can't exist.
    """
    if ref == "HEAD" or is_object_id(ref):
        return ref
    if not ref.startswith("refs/") or _BAD_REF.search(ref) or len(ref) > 1024:
        raise RefNotFoundError(f"{ref[:80]!r} is not a full ref name")
    return ref
