"""`python -m tests.parts build [NAME …]`: build parts ahead of time; all of them by default."""

from __future__ import annotations

import sys

from tests.parts.build import PARTS, binary

if __name__ == "__main__":
    if sys.argv[1:2] != ["build"]:
        sys.exit(__doc__)
    for part in sys.argv[2:] or PARTS:
        print(binary(part))
