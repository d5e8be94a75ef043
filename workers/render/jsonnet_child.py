"""Run as a script, in the sandbox: a Jsonnet program and its files on standard input, its value on standard output.

It imports nothing of Windlass: it starts in a few milliseconds, and knows nothing.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence


def candidates(folder: str, name: str, libraries: Sequence[str]) -> Iterator[str]:
    """Where an import of ``name`` by a file in ``folder`` is looked for, in order; nothing outside of the repository."""
    for start in (folder, *libraries):
        steps = start.split("/") if start and not name.startswith("/") else []
        for step in name.split("/"):
            if step == "..":
                if not steps:
                    break
                steps.pop()
            elif step not in ("", "."):
                steps.append(step)
        else:
            yield "/".join(steps)


def main() -> int:
    """Evaluate; 1 and a message on standard error where that fails."""
    import _jsonnet

    asked = json.load(sys.stdin)
    files, libraries = asked["files"], asked["libraries"]

    def load(folder: str, name: str) -> tuple[str, bytes]:
        for path in candidates(folder.strip("/"), name, libraries):
            if path in files:
                return path, files[path].encode()
        raise RuntimeError(f"there is no {name} in this commit")

    try:
        value = _jsonnet.evaluate_snippet(
            asked["main"],
            files[asked["main"]],
            import_callback=load,
            ext_vars=asked["external"],
            ext_codes=asked["external_code"],
            tla_vars=asked["arguments"],
            tla_codes=asked["arguments_code"],
        )
    except RuntimeError as error:
        sys.stderr.write(str(error))
        return 1
    sys.stdout.write(value)
    return 0


if __name__ == "__main__":
    sys.exit(main())
