"""What a promotion says of itself, read back from it alone; and nothing from outside that is more than text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.documents import syntax
from windlass.documents.promotion import Promotion, PromotionSpec, PullRequest, Target
from windlass.queue.promotions import Image
from windlass.registries.names import TAG
from workers.promote import words
from workers.promote.aftermath import Standing

DIGEST = "sha256:" + "a1" * 32


def promotion(**spec: str) -> Promotion:
    return Promotion(
        "web", PromotionSpec("registry.example/shop/web", Target("manifests"), pull_request=PullRequest(**spec))
    )


tags = st.from_regex(rf"\A{TAG}\Z")
images = st.builds(
    Image, tags, st.sampled_from(["", DIGEST]), commit=st.text(max_size=60), repository=st.text(max_size=60)
)


@given(images, st.text(max_size=30), st.lists(st.text(max_size=80), max_size=5))
def test_the_body_says_which_image_it_proposes_whatever_it_names(image: Image, previous: str, edits: list[str]) -> None:
    body = words.body(promotion(body="See {{commit}}."), image, previous, edits)
    found = words.proposed("web", body)
    assert found is not None
    assert found.identity == image.identity
    assert words.proposed("other", body) is None


@given(tags)
def test_every_tag_makes_a_branch_that_git_takes(tag: str) -> None:
    branch = words.branch(promotion(branch="promote/{{promotion}}-{{tag}}"), Image(tag))
    assert syntax.valid_ref(branch)


@pytest.mark.parametrize("tag", ["1..2", "x.lock", "v1.", "..."])
def test_what_a_ref_may_not_hold_becomes_a_hyphen(tag: str) -> None:
    assert syntax.valid_ref(words.branch(promotion(branch="p/{{tag}}"), Image(tag)))


def test_text_from_outside_ends_no_code_span_and_no_table() -> None:
    image = Image("1.0", repository="https://x/`|<script>\n# Approved by everyone", commit="c" * 40)
    body = words.body(promotion(), image, "", ["web.yaml`\n\n[click](javascript:1)"])
    assert "\n# Approved" not in body
    row = next(line for line in body.splitlines() if line.startswith("| Source"))
    assert row.count("`") == 2
    assert row.count("|") == 3
    assert all(line.count("`") % 2 == 0 for line in body.splitlines())


def test_a_commit_says_what_it_names_and_from_where() -> None:
    message = words.message(promotion(), Image("1.4.2", DIGEST, commit="c" * 40))
    assert message.splitlines()[0] == "web: web 1.4.2"
    assert f"Image: registry.example/shop/web:1.4.2@{DIGEST}" in message
    assert f"Source-Commit: {'c' * 40}" in message


def test_a_title_is_one_line_of_bounded_length() -> None:
    title = words.title(promotion(title="{{tag}} " * 20), Image("v" * 128), "")
    assert len(title) <= words.LONGEST_TITLE


def test_whether_each_image_has_a_branch_of_its_own() -> None:
    assert words.is_per_image(promotion(branch="p/{{tag}}"))
    assert not words.is_per_image(promotion())


@given(st.text(max_size=60), st.sampled_from(["waiting", "applied", "healthy", "degraded", "failed"]))
def test_what_a_cluster_says_stays_one_cell_of_the_table(why: str, stage: str) -> None:
    found = [Standing("shop", "production", stage, "a" * 40, why)]  # type: ignore[arg-type]
    text = words.outcome(promotion(), Image("1.4.2"), "b" * 40, found)
    row = text.splitlines()[-1]
    assert row.count("|") == 4
    assert row.startswith("| `shop` | `production` | ")
    assert row.count("`") % 2 == 0
    outside = "".join(row.split("`")[::2])
    assert "@" not in outside
    assert "[" not in outside
    assert "<" not in outside
