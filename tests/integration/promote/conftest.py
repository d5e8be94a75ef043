"""What several tests of promotions share."""

from __future__ import annotations

from tests.integration.promote.test_story import story

__all__ = ["story"]
