"""CEL evaluated where it can do no harm: in one child process, under a budget of time and memory.

An expression of 300 characters can double a list 22 times over and take half a gigabyte, and no library can be stopped in
between. So the child is: by the kernel at its budget of processor time or memory, by us if it gives no answer. What must
hold: nothing that an expression or an object holds keeps `Sandbox.ask` longer than `WALL_SECONDS`, ends this process, or
changes the answer about another object. The budget is processor time, so that a busy machine doesn't change answers.

No process is started before the first question. A child costs some 60 ms to start and 25 MiB to keep.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import orjson

from workers.health.evaluate_cel import OUT_OF_MEMORY

CPU_SECONDS = 0.25
"""For all expressions of one object; usual ones take 0.0001."""
WALL_SECONDS = 10.0
MEMORY = 512 << 20
"""Bytes of address space."""
LARGEST_OBJECT = 2 << 20
"""Bytes as JSON: etcd's limit is 1.5 MiB."""
PROGRAM = Path(__file__).with_name("evaluate_cel.py")

_KEPT = ("LD_LIBRARY_PATH",)  # some Pythons don't start without; nothing else of ours is the child's business
_ENDINGS = {
    -signal.SIGPROF: f"it took more than {CPU_SECONDS} s",
    OUT_OF_MEMORY: f"it took more than {MEMORY >> 20} MiB",
}


class BudgetError(Exception):
    """The expressions of an object took more time or memory than they may, or the object is too large for them."""


class EvaluationError(Exception):
    """An expression has no value for this object: types that don't fit, a malformed regular expression."""


class Sandbox:
    """One child at most, for as many rules as there are; to be used from threads, not from an event loop."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._child: subprocess.Popen[bytes] | None = None

    def ask(self, expressions: Sequence[str], obj: Mapping[str, Any]) -> int | None:
        """The index of the first expression that is true of ``obj``; None: none is.

        :raises BudgetError: too much time, memory, or a too large object.
        :raises EvaluationError: none is true, and one has no value.
        """
        try:
            question = orjson.dumps({"object": obj, "expressions": expressions}, option=orjson.OPT_APPEND_NEWLINE)
        except orjson.JSONEncodeError as error:
            raise EvaluationError(f"the object isn't JSON: {error}") from None
        if len(question) > LARGEST_OBJECT:
            raise BudgetError("the object is too large for expressions")
        with self._lock:
            answer = orjson.loads(self._answer(question))
        if "error" in answer:
            raise EvaluationError(answer["error"])
        if "budget" in answer:
            raise BudgetError(answer["budget"])
        index: int | None = answer.get("true")
        return index

    def _answer(self, question: bytes) -> bytes:
        child = self._started()
        end = time.monotonic() + WALL_SECONDS
        try:
            return _exchanged(child, question, end)
        except TimeoutError:
            self._end()
            raise BudgetError(f"it took more than {WALL_SECONDS} s") from None
        except (BrokenPipeError, EOFError):
            status = child.wait(1.0)
            self._end()
            raise BudgetError(_ENDINGS.get(status, f"its process ended with status {status}")) from None

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is not None and self._child.poll() is not None:
            self._end()
        if self._child is None:
            command = [sys.executable, "-I", str(PROGRAM), str(CPU_SECONDS), str(MEMORY)]
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
                env={name: os.environ[name] for name in _KEPT if name in os.environ},
                start_new_session=True,  # a terminal's Ctrl-C is ours
            )
            assert self._child.stdin is not None
            os.set_blocking(self._child.stdin.fileno(), False)
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.kill()
            child.wait()
            for pipe in (child.stdin, child.stdout):
                if pipe is not None:
                    pipe.close()

    def close(self) -> None:
        """End the child; a question after it starts another one."""
        with self._lock:
            self._end()


def _exchanged(child: subprocess.Popen[bytes], question: bytes, end: float) -> bytes:
    """Write ``question``, read the line that answers it.

    :raises BrokenPipeError, EOFError: the child has ended.
    :raises TimeoutError: it isn't ready by ``end``.
    """
    assert child.stdin is not None
    assert child.stdout is not None
    into, out = child.stdin.fileno(), child.stdout.fileno()
    rest = memoryview(question)
    answer = b""
    while not answer.endswith(b"\n"):
        left = end - time.monotonic()
        readable, writable, _ = select.select([out], [into] if rest else [], [], max(left, 0))
        if left <= 0 or not (readable or writable):
            raise TimeoutError
        if writable:
            rest = rest[os.write(into, rest[:65536]) :]
        if readable:
            chunk = os.read(out, 65536)
            if not chunk:
                raise EOFError
            answer += chunk
    return answer
