"""`python -m tests.parts build [--all | NAME …]`: build parts ahead of time; all of them by default."""

from __future__ import annotations

import sys

from tests.parts.build import PARTS, binary


def main(arguments: list[str]) -> int:
    if arguments[:1] != ["build"]:
        print(__doc__, file=sys.stderr)
        return 2
    names = [name for name in arguments[1:] if name != "--all"]
    if unknown := [name for name in names if name not in PARTS]:
        print(f"no such part: {', '.join(unknown)}; there are {', '.join(PARTS)}", file=sys.stderr)
        return 2
    for name in names or PARTS:
        print(binary(name))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
