"""Runnable examples: the web shop, and the demo that pushes it."""
