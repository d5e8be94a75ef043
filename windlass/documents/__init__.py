"""Windlass' documents: their types, how they are read and checked, and how they hang together."""
