"""Which promotions a closed pull request may be of: told by its branches alone, looked up as sources are.

What must hold: it only wakes. Whoever sends a branch of that name, from a fork too, makes a promotion look at its own pull
request, which the forge's API describes; nothing else of the payload gets there.
"""

from __future__ import annotations

from typing import NamedTuple

from windlass.documents.promotion import branch_of
from windlass.documents.promotions import PromotionView

_TAG = "\0"
"""No tag: shows where a template has it."""


class _Template(NamedTuple):
    """The branches that one promotion makes, an image each."""

    before: str
    after: str
    view: PromotionView

    def makes(self, branch: str) -> bool:
        fits = len(branch) > len(self.before) + len(self.after)
        return fits and branch.startswith(self.before) and branch.endswith(self.after)


class Proposals:
    """The promotions that open pull requests in one repository, by the branches between which these are."""

    def __init__(self) -> None:
        self._by_branch: dict[tuple[str, str], list[PromotionView]] = {}
        self._by_base: dict[str, list[_Template]] = {}

    def add(self, view: PromotionView) -> None:
        """A promotion that pushes without pull requests has none that could be closed."""
        promotion = view.promotion
        if promotion.spec.mode != "pullRequest":
            return
        base, branch = promotion.spec.target.branch, branch_of(promotion, _TAG)
        if _TAG not in branch:
            self._by_branch.setdefault((branch, base), []).append(view)
        else:
            template = _Template(branch.partition(_TAG)[0], branch.rpartition(_TAG)[2], view)
            self._by_base.setdefault(base, []).append(template)

    def between(self, head: str, base: str) -> list[PromotionView]:
        """Those whose pull requests come from ``head`` and go into ``base``, both by their short names."""
        exactly = self._by_branch.get((head, base), ())
        return [*exactly, *(one.view for one in self._by_base.get(base, ()) if one.makes(head))]
