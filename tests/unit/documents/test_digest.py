"""The digest of documents, by which a job names those it was made from, is the same in the next release."""

from __future__ import annotations

from pathlib import Path

from windlass.documents.catalog import Placed, build
from windlass.documents.parse import parse_documents

DATA = Path(__file__).parents[2] / "data/upgrade/documents.yaml"


def test_a_release_reads_the_documents_of_the_one_before_as_the_same() -> None:
    """Else every queued job would wait for documents that nobody has. The digests are those of commit 2936f83."""
    read = parse_documents(DATA.read_bytes(), DATA.name)
    catalog = build([Placed(document, DATA.name, line) for document, line in read.documents], read.errors)
    assert catalog.errors == ()
    assert {name: view.digest for name, view in catalog.sources.items()} == {
        "shop-main-f921bd": "7bf5f208e97a04c3",
        "shop-tags_v1-2ba238": "6e8213017231452d",
    }
