"""The ServiceAccount as which an application's objects are read and written: its own, the installation's default, or none.

What must hold: whoever is asked for gets exactly that account or an error, never Windlass' own rights instead. Pure.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from windlass.documents.syntax import valid_label
from windlass.documents.types import AccountRef, Destination
from windlass.errors import PermanentError

_NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*\Z")

EXPECTED = "expected the name of a ServiceAccount, or namespace:name"
NO_NAMESPACE = "names no namespace, and neither does the destination: expected namespace:name"


class ServiceAccount(NamedTuple):
    """An account of one cluster."""

    namespace: str
    name: str

    @property
    def user(self) -> str:
        """As the API server knows it; it adds the groups of a service account by itself
        (https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/)."""
        return f"system:serviceaccount:{self.namespace}:{self.name}"


def valid_account(text: str) -> bool:
    """Is ``text`` NAME or NAMESPACE:NAME? A ServiceAccount's name is a DNS subdomain (RFC 1123)."""
    namespace, colon, name = text.rpartition(":")
    return bool(_NAME.match(name)) and (valid_label(namespace) if colon else True)


def parse_account(text: str, namespace: str | None) -> ServiceAccount | None:
    """The account that a `valid_account` text names, in ``namespace`` if it names none; None: there is none to be in."""
    own, _, name = text.rpartition(":")
    place = own or namespace
    return ServiceAccount(place, name) if place else None


def text_of(ref: str | AccountRef) -> str:
    """Both ways to write an account, as one."""
    if isinstance(ref, str):
        return ref
    return ref.name if ref.namespace is None else f"{ref.namespace}:{ref.name}"


def account_of(destination: Destination, default: str = "") -> ServiceAccount | None:
    """As whom to act at ``destination``; None: as Windlass itself.

    :param default: the account of applications that name none, "" for none.
    :raises PermanentError: the account is in no namespace.
    """
    ref = destination.service_account if destination.service_account is not None else default or None
    if ref is None:
        return None
    account = parse_account(text_of(ref), destination.namespace)
    if account is None:
        raise PermanentError(f"the ServiceAccount {text_of(ref)} {NO_NAMESPACE}")
    return account
