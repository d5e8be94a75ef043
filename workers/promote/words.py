"""What a promotion says of itself: branch, title, body, commit message, comments. Pure.

What must hold: nothing that came from outside (an image's tag, a source's address) is more than text in what a forge renders;
whatever is proposed can be read back from the pull request alone, since Redis may forget it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from windlass.documents.promotion import Promotion, branch_of, filled
from windlass.documents.types import Application
from windlass.forges.pulls import hidden
from windlass.queue.promotions import Image
from workers.promote.aftermath import Standing

LONGEST_TITLE = 250
SHOWN_EDITS = 50
_MARKER = re.compile(
    r"\[//\]: # \(windlass promotion=(?P<promotion>[a-z0-9-]{1,63}) "
    r"image=(?P<tag>[A-Za-z0-9_][A-Za-z0-9._-]{0,127})@(?P<digest>(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})?)\)"
)
CONFLICT = "windlass conflict"
REASON = "windlass reason"
OUTCOME = "windlass outcome"


def words(promotion: Promotion, image: Image, previous: str = "") -> dict[str, str]:
    """What templates may name."""
    name = promotion.spec.image
    return {
        "promotion": promotion.name,
        "image": name,
        "name": name.rpartition("/")[2],
        "tag": image.tag,
        "digest": image.digest,
        "previous": previous,
        "commit": image.commit,
    }


def branch(promotion: Promotion, image: Image) -> str:
    """The branch that proposes the image."""
    return branch_of(promotion, image.tag)


def is_per_image(promotion: Promotion) -> bool:
    """Does each image get a branch of its own?"""
    return branch(promotion, Image("a")) != branch(promotion, Image("b"))


def title(promotion: Promotion, image: Image, previous: str) -> str:
    return filled(promotion.spec.pull_request.title, words(promotion, image, previous))[:LONGEST_TITLE]


def message(promotion: Promotion, image: Image) -> str:
    """The commit's: the document's words, else a subject and what it names."""
    if promotion.spec.commit.message:
        return filled(promotion.spec.commit.message, words(promotion, image))
    lines = [
        f"{promotion.name}: {words(promotion, image)['name']} {image.tag}",
        "",
        f"Image: {reference(promotion, image)}",
    ]
    if image.commit:
        lines.append(f"Source-Commit: {image.commit}")
    return "\n".join(lines) + "\n"


def reference(promotion: Promotion, image: Image) -> str:
    digest = f"@{image.digest}" if image.digest else ""
    return f"{promotion.spec.image}:{image.tag}{digest}"


def body(promotion: Promotion, image: Image, previous: str, edits: Sequence[str], commits: Sequence[str] = ()) -> str:
    """The pull request's; it ends with what `proposed` reads. ``commits``: what the image was made of (`Sources`)."""
    rows = [f"| Image | {code(reference(promotion, image))} |"]
    if previous:
        rows.append(f"| Before | {code(previous)} |")
    if image.commit:
        rows.append(f"| Source | {code(f'{image.repository}@{image.commit}' if image.repository else image.commit)} |")
    shown = [f"- {code(edit)}" for edit in edits[:SHOWN_EDITS]]
    if len(edits) > SHOWN_EDITS:
        shown.append(f"- and {len(edits) - SHOWN_EDITS} more")
    extra = filled(promotion.spec.pull_request.body, words(promotion, image, previous))
    made_of = "\n".join(["Commits:", "", *(f"- {code(one)}" for one in commits)]) if commits else ""
    parts = ["\n".join(["| | |", "|---|---|", *rows]), "\n".join(shown), made_of, extra, marker(promotion.name, image)]
    return "\n\n".join(part for part in parts if part)


def marker(promotion: str, image: Image) -> str:
    return hidden(f"windlass promotion={promotion} image={image.identity}")


def proposed(promotion: str, text: str) -> Image | None:
    """The image that a pull request of this promotion proposes, by its body; None if it is none of this promotion."""
    found = [match for match in _MARKER.finditer(text) if match["promotion"] == promotion]
    return Image(found[-1]["tag"], found[-1]["digest"]) if found else None


def conflict(edits: Sequence[str]) -> str:
    shown = "\n".join(f"- {code(edit)}" for edit in edits[:SHOWN_EDITS])
    return f"What was pushed to this branch conflicts with the newest image; nothing was changed.\n\n{shown}"


_STAGES = {
    "waiting": "waits",
    "applied": "applied, not healthy yet",
    "healthy": "healthy",
    "degraded": "**applied, but degraded**",
    "failed": "**not applied**",
}


def outcome(promotion: Promotion, image: Image, merge: str, found: Sequence[Standing], last: str = "") -> str:
    """What a merged pull request is told of the clusters. Nothing in it changes unless what happened does."""
    rows = ["| Application | Cluster | |", "|---|---|---|"]
    for one in found[:SHOWN_EDITS]:
        at = f" at {code(one.revision[:10])}" if one.revision and one.stage != "failed" else ""
        why = f": {code(one.why)}" if one.why else ""
        rows.append(f"| {code(one.application)} | {code(one.cluster)} | {_STAGES[one.stage]}{at}{why} |")
    if len(found) > SHOWN_EDITS:
        rows.append(f"| and {len(found) - SHOWN_EDITS} more | | |")
    by = f", merged as {code(merge[:10])}" if merge else ""
    return "\n\n".join(filter(None, (f"{code(reference(promotion, image))}{by}:", "\n".join(rows), last)))


def overtaken(newer: Image) -> str:
    return f"{code(newer.tag)} is promoted now; what becomes of this one is not followed any more."


def rollback(application: Application, revision: str, files: Sequence[str], left: Sequence[str], why: str) -> str:
    """What a pull request says that takes an application back."""
    rows = [f"| Application | {code(application.name)} |", f"| Back to | {code(revision)} |"]
    if why:
        rows.append(f"| Why | {code(why)} |")
    parts = ["\n".join(["| | |", "|---|---|", *rows]), _list(files)]
    if left:
        parts.append(
            f"The application reads these too; they stay as they are, and are not what they were:\n\n{_list(left)}"
        )
    return "\n\n".join(parts)


def _list(paths: Sequence[str]) -> str:
    more = [f"- and {len(paths) - SHOWN_EDITS} more"] if len(paths) > SHOWN_EDITS else []
    return "\n".join([*(f"- {code(path)}" for path in paths[:SHOWN_EDITS]), *more])


def line(text: str) -> str:
    """Text on one line."""
    return "".join(character if character.isprintable() else " " for character in text)[:500]


def code(text: str) -> str:
    """Text as a code span that it can't end: on one line, without backquotes and table bars."""
    return "`" + line(text).replace("`", "'").replace("|", "¦") + "`"
