"""Bytes of a tree in, objects out."""
