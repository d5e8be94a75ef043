"""What a process hears of custom resources: the documents that they are, and the values of the Secrets that they name.

What must hold: a set of resources counts once its Secrets were asked for, so that what is new doesn't fail for want of them;
what isn't heard (a Redis or an API server that is away) leaves everything as it is. A Secret is read from the cluster by the
process that needs it, and again now and then, for rotation; its values stay in this process' memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator

import structlog
from redis.asyncio import Redis

from windlass.documents import walk
from windlass.documents.base import SecretKey, SecretRef
from windlass.documents.directory import Beside, DocumentDirectory
from windlass.documents.registry import Registry
from windlass.documents.resources import Found, Terms, read
from windlass.documents.signing import KeyReference
from windlass.documents.types import Document, Repository
from windlass.errors import TransientError, WindlassError
from windlass.home import Home
from windlass.queue.resources import LOOK_SECONDS, Handover, Listener
from windlass.settings import Settings

log = structlog.get_logger(__name__)

AGAIN_SECONDS, MISSING_SECONDS = 30.0, 2.0
"""How often a Secret is read again; one that wasn't there is asked for sooner."""

Wanted = Callable[[Document], Iterable[SecretKey]]


def all_secrets(document: Document) -> Iterator[SecretKey]:
    """Every Secret that a document names."""
    return _named(document.spec)


def secrets_of_senders(document: Document) -> Iterator[SecretKey]:
    """The Secrets by which deliveries to the service are verified."""
    if isinstance(document, Repository) and document.spec.webhook is not None:
        yield from _named(document.spec.webhook)
    elif isinstance(document, Registry):
        yield from _named(document.spec)


def no_secrets(_: Document) -> Iterator[SecretKey]:
    """For a command that only looks."""
    return iter(())


def _named(part: object) -> Iterator[SecretKey]:
    for _, one in walk.parts(part):
        if isinstance(one, SecretRef | KeyReference) and one.secret is not None:
            yield one.secret


class ClusterSecrets:
    """The values of Secrets that documents name, as they were when they were read last."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._wanted: dict[tuple[str, str], set[str]] = {}
        self._values: dict[tuple[str, str], dict[str, bytes]] = {}
        self._errors: dict[tuple[str, str], str] = {}
        self._next: dict[tuple[str, str], float] = {}

    def resolve(self, ref: SecretKey) -> bytes:
        """The value of a key; "" where the Secret has no such key.

        :raises TransientError: the Secret could not be read yet.
        """
        place = ref.namespace, ref.name
        if place in self._values:
            return self._values[place].get(ref.key, b"")
        raise TransientError(self._errors.get(place, f"the Secret {ref.namespace}/{ref.name} is not read yet"))

    def missing(self, refs: Iterable[SecretKey]) -> str:
        """What is wrong with the first of these that can't be had; "" if nothing is."""
        for ref in refs:
            try:
                if not self.resolve(ref):
                    return f"the Secret {ref.namespace}/{ref.name} has no key {ref.key}, or it is empty"
            except TransientError as error:
                return str(error)
        return ""

    async def want(self, refs: Iterable[SecretKey]) -> None:
        """Hold these and no others; reads those that are new."""
        wanted: dict[tuple[str, str], set[str]] = {}
        for ref in refs:
            wanted.setdefault((ref.namespace, ref.name), set()).add(ref.key)
        for gone in self._wanted.keys() - wanted.keys():
            for held in (self._values, self._errors, self._next):
                held.pop(gone, None)
        self._next.update((place, 0.0) for place, keys in wanted.items() if self._wanted.get(place) != keys)
        self._wanted = wanted
        await self.refresh()

    async def refresh(self) -> None:
        """Read again those whose time has come."""
        now = time.monotonic()
        await asyncio.gather(*(self._read(place) for place, due in list(self._next.items()) if due <= now))

    async def _read(self, place: tuple[str, str]) -> None:
        seconds = AGAIN_SECONDS
        try:
            data = await self._home.secret(*place)
        except (WindlassError, OSError) as error:
            seconds = MISSING_SECONDS
            if self._errors.get(place) != str(error):
                log.warning("secret.unreadable", error=str(error))
            self._errors[place] = str(error)
        else:
            self._errors.pop(place, None)
            self._values[place] = {key: data[key] for key in self._wanted.get(place, ()) if key in data}
        self._next[place] = time.monotonic() + seconds

    async def close(self) -> None:
        await self._home.close()


class Feed:
    """Follows what the watcher hands on, into ``beside``."""

    def __init__(self, settings: Settings, redis: Redis, wanted: Wanted) -> None:
        """
        :raises WindlassError: the processes share no key.
        """
        self.beside, self.secrets = Beside(), ClusterSecrets(Home(settings.resources_kubeconfig))
        self._listener, self._wanted = Listener(Handover(redis, settings.shared_key())), wanted
        self._terms = terms(settings)
        self._news = asyncio.Event()

    async def look(self) -> None:
        """Take over what is new."""
        handed = await self._listener.look_safely()
        if handed is None:
            await self.secrets.refresh()
            return
        found: Found = await asyncio.to_thread(read, handed.resources, self._terms)
        documents = (one.document for one in (*found.documents, *found.ending))
        await self.secrets.want(ref for document in documents for ref in self._wanted(document))
        self.beside.found = found
        self._news.set()
        log.info("resources.heard", generation=handed.generation, resources=len(handed.resources))

    async def follow(self) -> None:
        """For as long as the process runs."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await self.look()

    async def news(self, seconds: float) -> None:
        """Wait until something new was heard, but no longer than so many seconds."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._news.wait(), seconds)
        self._news.clear()

    async def close(self) -> None:
        await self.secrets.close()


async def documents_of(
    settings: Settings, redis: Redis, wanted: Wanted = all_secrets
) -> tuple[DocumentDirectory, Feed | None]:
    """The documents of this process, those of custom resources among them where they are followed, as they are now.

    :raises WindlassError: custom resources are followed, and the processes share no key.
    """
    if not settings.resources:
        return DocumentDirectory(settings.documents), None
    feed = Feed(settings, redis, wanted)
    await feed.look()
    return DocumentDirectory(settings.documents, feed.beside), feed


def terms(settings: Settings) -> Terms:
    return Terms(settings.resources_namespace, settings.default_service_account)
