"""What may stand for a name, a URL, a ref, a folder: allow-lists, because these reach command lines, paths and requests. Pure."""

from __future__ import annotations

import re

LONGEST_URL = 2048
LONGEST_REF = 250
"""Git keeps a loose ref in a file of this name: 255 bytes a segment, some of them its lock's."""
LONGEST_PATH = 4096

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\Z")
_ENDPOINT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}\Z")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}\Z")
_SECRET = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\Z")
_KEY = re.compile(r"[A-Za-z0-9._-]{1,253}\Z")
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")
_USER = r"[A-Za-z0-9_][A-Za-z0-9._-]*@"
_HOST = r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?"
_SCP = re.compile(rf"{_USER}{_HOST}:(?![-:])[^\\?#]+\Z")
_URL = re.compile(rf"(https?|ssh)://({_USER})?({_HOST}|\[[0-9A-Fa-f:.]+\])(:(?P<port>\d{{1,5}}))?/[^\\?#]+\Z")
_HTTP = re.compile(rf"https?://({_HOST}|\[[0-9A-Fa-f:.]+\])(:(?P<port>\d{{1,5}}))?(/[^\\?#]*)?\Z")
_REF_REFUSED = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//|\.lock(/|\Z)|(\A|/)\.")


def valid_label(name: str) -> bool:
    """An RFC 1123 label: what Kubernetes takes for the name of a namespace, and Windlass for a document's."""
    return bool(_LABEL.match(name))


def valid_endpoint(name: str) -> bool:
    """May ``name`` be a segment of a webhook's address?"""
    return bool(_ENDPOINT.match(name))


def valid_variable(name: str) -> bool:
    """The name of an environment variable."""
    return bool(_VARIABLE.match(name))


def valid_secret_key(name: str, key: str) -> bool:
    """The name of a Secret (a DNS subdomain, RFC 1123), and of a key in its data."""
    return bool(_SECRET.match(name) and _KEY.match(key)) and key not in (".", "..")


def valid_commit(name: str) -> bool:
    """A whole SHA-1 object id."""
    return bool(_COMMIT.match(name))


def valid_url(url: str) -> bool:
    """https, http, ssh, or user@host:path; nothing that Git would take for an option, a helper or a local file."""
    if not url.isprintable() or " " in url or len(url) > LONGEST_URL or ".." in re.split(r"[/:]", url):
        return False
    match = _URL.match(url)
    if match is not None:
        return _port(match["port"])
    return "://" not in url and bool(_SCP.match(url))


def valid_http(url: str) -> bool:
    """An http(s) address of a server, or of an API below it, without user name, query and fragment."""
    match = _HTTP.match(url) if url.isprintable() and " " not in url and len(url) <= LONGEST_URL else None
    return match is not None and _port(match["port"])


def _port(digits: str | None) -> bool:
    return digits is None or 0 < int(digits) < 65536


def valid_ref(name: str) -> bool:
    """May ``name`` follow ``refs/heads/`` or ``refs/tags/``? The rules of git-check-ref-format(1), and no leading hyphen."""
    return (
        0 < len(name.encode(errors="surrogatepass")) <= LONGEST_REF
        and not _REF_REFUSED.search(name)
        and not name.startswith(("-", "/"))
        and not name.endswith(("/", "."))
        and not any("\ud800" <= character <= "\udfff" for character in name)
    )


def valid_folder(path: str) -> bool:
    """A folder of a repository, relative to its root, which is ""."""
    segments = path.split("/")
    return path == "" or (
        path.isprintable()
        and len(path) <= LONGEST_PATH
        and "\\" not in path
        and not any(segment in ("", ".", "..") or segment.lower() == ".git" for segment in segments)
    )


def valid_file(path: str) -> bool:
    """A path on this machine."""
    return 0 < len(path) <= LONGEST_PATH and path.isprintable()
