"""Where a repository is, as one comparable value. A payload's URL selects repositories by equality with this, and by
nothing else.

What must hold (CVE-2026-44937, CVE-2026-25542): no part of a URL is ever a pattern, a prefix or a substring of a
match; the user info, a query or a fragment never reaches the host. What can't be read as a repository's address
matches nothing.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

LONGEST_URL = 2048
"""Characters; what is longer is no repository's address, and is not remembered either."""

_SCHEMES = {"https": 443, "http": 80, "ssh": 22, "git": 9418, "git+ssh": 22, "git+https": 443}
_UNFIT = re.compile(r"[\x00-\x1f\x7f\\?#]")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_SCP_LIKE = re.compile(r"(?:[^@:/\s]+@)?(\[[0-9A-Fa-f:.]+\]|[^@:/\s\[\]]+):(?!/)(.+)", re.DOTALL)


class Address(NamedTuple):
    """``host`` is lower case, ``path`` has no slash around it and no ``.git``.

    An HTTP port other than the scheme's own belongs to the host: it names another server. SSH's does not, since forges
    serve SSH and HTTPS of one repository on different ports.
    """

    host: str
    path: str


def repository_address(url: str, *, fold_case: bool = False) -> Address | None:
    """Normalise a clone, SSH (also scp-like, ``git@host:path``) or web URL; None if it is no repository's address.

    The scheme is no part of the address: HTTPS and SSH name the same repository. ``fold_case`` is for forges that don't
    tell paths apart by case (all but ``generic``).
    """
    return _remembered(url, fold_case) if len(url) <= LONGEST_URL else None


@lru_cache(maxsize=4096)
def _remembered(url: str, fold_case: bool) -> Address | None:
    if _UNFIT.search(url):
        return None
    found = _split_url(url) if _SCHEME.match(url) else _split_scp(url)
    if found is None:
        return None
    host, path = found[0].rstrip(".").lower(), _clean_path(found[1])
    if not host or path is None:
        return None
    return Address(host, path.lower() if fold_case else path)


def _split_url(url: str) -> tuple[str, str] | None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if host is None or parts.scheme not in _SCHEMES:
        return None
    host = f"[{host}]" if ":" in host else host
    plain = port is None or port == _SCHEMES[parts.scheme] or "http" not in parts.scheme
    return host if plain else f"{host}:{port}", parts.path


def _split_scp(url: str) -> tuple[str, str] | None:
    match = _SCP_LIKE.fullmatch(url)
    return (match[1], match[2]) if match else None


def _clean_path(path: str) -> str | None:
    path = unquote(path).strip("/").removesuffix(".git").rstrip("/")
    if not path or _UNFIT.search(path) or any(part in ("", ".", "..") for part in path.split("/")):
        return None
    return path
