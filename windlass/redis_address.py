"""What a REDIS_URL says: one server's address, or the Sentinels that know which server is the master. Pure.

``redis+sentinel://[user:password@]host:26379,host2:26379/mymaster[/database][?options]``, and ``rediss+sentinel`` with TLS to the
servers and the Sentinels. User and password are the servers'; the Sentinels have theirs in the options ``sentinel_username`` and
``sentinel_password``. All other options are those of a ``rediss://`` address (``ssl_ca_certs``, …).
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel")
SENTINEL_PORT = 26379
EXPECTED = "expected host:port, the port a number to 65535"
EXPECTED_SENTINELS = "expected redis+sentinel://host:26379,host2:26379/mymaster/0"

_WHOLE = re.compile(r"(?P<scheme>[a-z+]+)://((?P<login>[^/?]*)@)?(?P<rest>.*)\Z", re.DOTALL)
_NODE = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(:(?P<port>\d{1,5}))?\Z")
_MASTER = re.compile(r"/(?P<master>[A-Za-z0-9._-]+)(/(?P<database>\d{0,5}))?/?\Z")


class AddressError(ValueError):
    """It is no address of a Redis; the message repeats nothing of it."""


class Sentinels(NamedTuple):
    """Where the Sentinels are, and which master they are asked for. ``server`` is the address of a server, all but its host."""

    nodes: tuple[tuple[str, int], ...]
    master: str
    server: str  # redis://user:password@sentinel/0?options
    username: str | None
    password: str | None


def completed(url: str, *, password: str = "", ca_file: str = "") -> str:
    """``url`` with the password and the authorities' certificates that are said beside it, where it names none itself.

    :param password: as it is, of any characters.
    :param ca_file: for TLS; an address without it stays as it is.
    """
    match = _WHOLE.match(url)
    if match is None:
        return url
    login, rest = match["login"] or "", match["rest"]
    if password and ":" not in login:
        login = f"{login}:{quote(password, safe='')}"
    if ca_file and match["scheme"].startswith("rediss") and "ssl_ca_certs=" not in rest:
        rest += f"{'&' if '?' in rest else '?'}{urlencode({'ssl_ca_certs': ca_file})}"
    return f"{match['scheme']}://{login}{'@' if login else ''}{rest}"


def sentinels(url: str) -> Sentinels | None:
    """The Sentinels that ``url`` names; None if it names a server.

    :raises AddressError: it is neither.
    """
    scheme, separator, _ = url.partition("://")
    if not separator or scheme not in SCHEMES or not url.isprintable():
        raise AddressError(f"expected an address that begins with {' or '.join(f'{one}://' for one in SCHEMES)}")
    if not scheme.endswith("+sentinel"):
        try:
            _ = urlsplit(url).port
        except ValueError:
            raise AddressError(EXPECTED) from None
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        raise AddressError(EXPECTED_SENTINELS) from None
    login, at, hosts = parts.netloc.rpartition("@")
    path = _MASTER.match(parts.path)
    if path is None:
        raise AddressError(EXPECTED_SENTINELS)
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    username, password = options.pop("sentinel_username", None), options.pop("sentinel_password", None)
    server = f"{scheme.removesuffix('+sentinel')}://{login}{at}sentinel/{path['database'] or 0}"
    server += f"?{urlencode(options)}" if options else ""
    return Sentinels(tuple(map(_node, hosts.split(","))), path["master"], server, username, password)


def _node(text: str) -> tuple[str, int]:
    match = _NODE.match(text)
    if match is None or not 0 < int(match["port"] or SENTINEL_PORT) < 65536:
        raise AddressError(EXPECTED_SENTINELS)
    return match["host"].strip("[]"), int(match["port"] or SENTINEL_PORT)
