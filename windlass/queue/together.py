"""A Redis client whose commands travel together: what many tasks ask for at the same time is one write and one read.

A run of a thousand applications asks Redis thousands of times; each question alone costs two system calls and a round trip.
What must hold: commands reach Redis in the order in which they were asked, each gets its own answer or its own error, and
who asks alone waits no longer than with a client of redis-py's. Blocking commands are not for it: they would hold up the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import ResponseError

MOST = 500
"""Commands in one write: Redis serves nobody else meanwhile."""
BLOCKING = frozenset(
    {"BLMOVE", "BLPOP", "BRPOP", "BLMPOP", "BZPOPMIN", "BZPOPMAX", "BZMPOP", "XREAD", "XREADGROUP", "WAIT"}
)


class _Command(NamedTuple):
    arguments: tuple[Any, ...]
    options: Mapping[str, Any]
    answer: asyncio.Future[Any]


class Together(Redis):
    """One batch is on its way at a time; what is asked for meanwhile is the next one."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._waiting: list[_Command] = []
        self._sender: asyncio.Task[None] | None = None

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """As redis-py's.

        :raises ValueError: it is a blocking command. :raises RedisError: its own error, or Redis is away.
        """
        return await self._ask(args, options)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """As redis-py's. What is no transaction travels with everybody's commands."""
        if transaction:
            return super().pipeline(transaction, shard_hint)
        return _Batch(self, self.connection_pool, self.response_callbacks, False, shard_hint)

    async def ask(self, commands: Iterable[tuple[tuple[Any, ...], Mapping[str, Any]]]) -> list[Any]:
        """The answers or the errors of several commands, in their order."""
        return await asyncio.gather(*(self._ask(*command) for command in commands), return_exceptions=True)

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        if self._sender is not None:
            self._sender.cancel()
            await asyncio.gather(self._sender, return_exceptions=True)
        for command in self._waiting:  # nobody waits for ever
            _settle(command.answer, RedisConnectionError("the client was closed"))
        await super().aclose(close_connection_pool)

    def _ask(self, args: tuple[Any, ...], options: Mapping[str, Any]) -> asyncio.Future[Any]:
        if args[0] in BLOCKING:
            raise ValueError(f"{args[0]} would hold up everybody's commands")
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append(_Command(args, options, answer))
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send())
        return answer

    async def _send(self) -> None:
        while self._waiting:
            await asyncio.sleep(0)  # whoever can go on now may want something, too
            batch, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
            if asked := [command for command in batch if not command.answer.done()]:
                await self._exchange(asked)

    async def _exchange(self, batch: list[_Command]) -> None:
        """:raises CancelledError: the client is being closed."""
        answers: Iterable[Any]
        try:
            if len(batch) == 1:
                answers = [await super().execute_command(*batch[0].arguments, **batch[0].options)]  # type: ignore[no-untyped-call]
            else:
                pipeline = super().pipeline(transaction=False)
                for command in batch:
                    pipeline.execute_command(*command.arguments, **command.options)
                answers = await pipeline.execute(raise_on_error=False)
        except asyncio.CancelledError:
            answers = [RedisConnectionError("the client was closed")] * len(batch)
            raise
        except Exception as error:  # noqa: BLE001 - it is the error of each of them
            answers = [error] * len(batch)
        finally:
            for command, answer in zip(batch, answers, strict=True):
                _settle(command.answer, answer)


class _Batch(Pipeline):
    """Commands of one task, sent with those of all others."""

    def __init__(self, client: Together, *args: Any) -> None:
        super().__init__(*args)
        self._client = client

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        commands, self.command_stack = list(self.command_stack), []
        answers = await self._client.ask(commands)
        for answer in answers:
            if isinstance(answer, Exception) and (raise_on_error or not isinstance(answer, ResponseError)):
                raise answer
        return answers


def _settle(future: asyncio.Future[Any], answer: Any) -> None:
    if future.done():
        return  # who asked was cancelled
    if isinstance(answer, Exception):
        future.set_exception(answer)
    else:
        future.set_result(answer)
