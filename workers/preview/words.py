"""What is said of a pull request: a comment in Markdown, and a line for its commit's status. Pure.

What must hold: nothing that the repository or the cluster holds is more than text in what a forge renders, and no comment is
longer than the forge with the shortest ones takes.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from windlass.forges.status import State
from workers.preview.plans import MOST_APPLICATIONS, Planned
from workers.preview.subject import Subject
from workers.promote.words import code

MARKER = "windlass plan"
LONGEST = 30_000
"""Characters: Bitbucket Cloud takes 32,768."""
LONGEST_DESCRIPTION = 140
_SAID = {"missing": "new", "changed": "changed", "pruned": "pruned", "error": "refused"}


def comment(found: Sequence[Planned], subject: Subject, *, live: bool, more: int = 0) -> str:
    """The whole comment; without its hidden marker."""
    head = f"What merging {code(subject.head[:10])} would change" + (
        ":" if found else ": nothing that is applied from here."
    )
    parts = [head]
    if not live:
        parts.append(
            "It comes from a fork, so this compares what is rendered, without a cluster. A maintainer who has read this very "
            f"commit can ask for more: {code('windlass plan REPOSITORY NUMBER --approve ' + subject.head)}"
        )
    if subject.conflicts:
        parts.append(f"It does not go together with its base ({_listed(subject.conflicts)}): this is of its own head.")
    sections = [_section(one) for one in found]
    if more:
        sections.append(f"and {more} more applications (only {MOST_APPLICATIONS} are told of)")
    return _fitted(parts, sections)


def status(found: Sequence[Planned], subject: Subject) -> tuple[State, str]:
    errors = [f"{one.application}: {error}" for one in found for error in one.errors]
    if errors:
        more = f" (+{len(errors) - 1} more)" if len(errors) > 1 else ""
        return "failure", _short(errors[0], LONGEST_DESCRIPTION - len(more)) + more
    if subject.conflicts:
        return "success", _short(f"conflicts with its base; of its head: {_counted(found)}", LONGEST_DESCRIPTION)
    return "success", _short(_counted(found), LONGEST_DESCRIPTION)


def _counted(found: Sequence[Planned]) -> str:
    counts = Counter(_SAID[d.status] for one in found if one.compared for d in one.compared.differences)
    if not counts:
        return "nothing that is applied would change"
    said = ", ".join(f"{counts[word]} {word}" for word in _SAID.values() if counts[word])
    return f"{said} in {len(found)} application{'s' if len(found) > 1 else ''}"


def _section(one: Planned) -> str:
    title = f"### {code(one.application)} on {code(one.cluster)}"
    if one.compared is None:
        return f"{title}\n\n{_fenced(one.error, '')}"
    lines = [f"{title}: {_counted([one]).rpartition(' in ')[0] or 'nothing would change'}"]
    for found in one.compared.differences:
        lines.append(f"{_SAID[found.status]}: {code(found.object)}" + (f" ({code(found.file)})" if found.file else ""))
        if found.message:
            lines.append(_fenced(found.message, ""))
        if found.text:
            lines.append(_fenced(found.text, "diff"))
    return "\n\n".join(lines)


def _fenced(text: str, language: str) -> str:
    """In a fence longer than any that the text holds (CommonMark, section 4.5)."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _fitted(parts: Sequence[str], sections: Sequence[str]) -> str:
    """As many whole sections as there is room for; of the others how many they are."""
    text, left = "\n\n".join(parts), list(sections)
    while left and len(text) + len(left[0]) + 200 < LONGEST:
        text += f"\n\n{left.pop(0)}"
    return f"{text}\n\n{len(left)} more would not fit here: `windlass diff` shows them." if left else text


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return ", ".join(map(code, names[:5])) + more


def _short(line: str, longest: int) -> str:
    line = " ".join(line.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
