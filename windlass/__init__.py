"""The words that every process of Windlass shares: documents, events, errors, forges, the queue, state and settings."""

__version__ = "0.1.0"
