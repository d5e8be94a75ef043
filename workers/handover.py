"""What must not be deleted yet: objects that leave one application while another of the same run may want them.

An object that moves is claimed by the application that it moves to, and whoever it leaves sees the claim and lets go. That
needs the other one to come as far as its claims. One that failed before, or that has a file that can't be read, may want
what it could not say; then the object stays, and an error says for whom. Nothing leaves the cluster because of an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from windlass.documents.types import Application
from workers.kube.keys import ObjectKey
from workers.plan import Leaving, ObjectError

_NAME = rb"[A-Za-z0-9.-]"


class _Unreadable(NamedTuple):
    application: Application
    file: str
    content: bytes


class Handover:
    """What the applications of one source's run could not say of what they want."""

    def __init__(self) -> None:
        self._silent: dict[str, Application] = {}
        self._waiting: dict[ObjectKey, Application] = {}
        self._unreadable: list[_Unreadable] = []

    def silent(self, application: Application) -> None:
        """``application`` ended before it had claimed what it wants."""
        self._silent[application.name] = application

    def waiting(self, application: Application, wanted: Iterable[ObjectKey]) -> None:
        """``application`` will want these once a person says so."""
        self._waiting.update(dict.fromkeys(wanted, application))

    def unreadable(self, application: Application, files: Mapping[str, bytes]) -> None:
        """``application`` wants what is in these files (path -> content), whatever that is."""
        self._unreadable += [_Unreadable(application, file, content) for file, content in files.items()]

    def held(self, application: Application, leaving: Iterable[Leaving]) -> dict[ObjectKey, ObjectError]:
        """Those of ``leaving`` that stay in the cluster for now, with the reason.

        While a whole application is silent everything stays, and is tried again; what a file that can't be read names
        stays until a commit mends the file.
        """
        for other in self._silent.values():
            if _meets(other, application):
                message = f"stays for now: application {other.name} failed before it could say whether it wants it"
                return {i.key: ObjectError(str(i.key), "", 0, message, retry=True) for i in leaving}
        held = {}
        for item in leaving:
            asking = self._waiting.get(item.key)
            if asking is not None and _meets(asking, application):
                message = (
                    f"stays for now: application {asking.name} wants it, and waits for `windlass sync {asking.name}`"
                )
                held[item.key] = ObjectError(str(item.key), "", 0, message, retry=True)
                continue
            for other, file, content in self._unreadable:
                if _meets(other, application) and _named_in(content, item.key.name):
                    message = f"stays for now: a file of application {other.name} names it, and can't be read"
                    held[item.key] = ObjectError(str(item.key), file, 0, message)
        return held


def _meets(other: Application, application: Application) -> bool:
    """Only in the same cluster can an object pass from one to the other."""
    return other.name != application.name and other.spec.destination.cluster == application.spec.destination.cluster


def _named_in(content: bytes, name: str) -> bool:
    return re.search(rb"(?<!%b)%b(?!%b)" % (_NAME, re.escape(name.encode()), _NAME), content) is not None
