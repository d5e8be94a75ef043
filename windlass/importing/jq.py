"""The paths that `ignoreDifferences.jqPathExpressions` are most often made of, as Windlass' pointers. Pure.

Only what is a path is understood: fields, indexes, all items, and `select(.key == "value")` of a list's items. Anything else
is no pointer, and the answer is None.
"""

from __future__ import annotations

import re

_STEP = re.compile(
    r"""\s*(?:
      \.?\[\s*"(?P<quoted>[^"\\]+)"\s*\]     # ["a/b"]
    | \.?\[\s*(?P<index>\d+)\s*\]            # [0]
    | \.?\[\s*\]\s*\|\s*select\(\s*\.(?P<key>\w+)\s*==\s*"(?P<value>[^"\\\]=,]+)"\s*\)  # [] | select(.name == "web")
    | (?P<all>\.?\[\s*\])                    # []
    | \.\s*"(?P<dotted>[^"\\]+)"             # ."a/b"
    | \.(?P<field>[A-Za-z_][A-Za-z0-9_]*)    # .spec
    )\??""",
    re.VERBOSE,
)
_PIPE = re.compile(r"\s*\|\s*(?=\.)")


def pointer(expression: str) -> str | None:
    """The pointer that selects the same; None: there is none."""
    text, found = expression.strip(), ""
    while text:
        if found and (pipe := _PIPE.match(text)):
            text = text[pipe.end() :]
        step = _STEP.match(text)
        if step is None or not step.group().strip():
            return None
        found += f"/{_pointed(step)}"
        text = text[step.end() :].rstrip()
    return found or None


def _pointed(step: re.Match[str]) -> str:
    if step["key"]:
        return f"[{step['key']}={step['value']}]"
    if step["all"]:
        return "*"
    name = step["quoted"] or step["dotted"] or step["field"] or step["index"]
    return name.replace("~", "~0").replace("/", "~1")
