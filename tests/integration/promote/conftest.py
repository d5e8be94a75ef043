"""What several tests of promotions share."""

from __future__ import annotations

from tests.integration.promote.test_propose import shop
from tests.integration.promote.test_story import story

__all__ = ["shop", "story"]
