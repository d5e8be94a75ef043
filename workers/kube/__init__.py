"""The Kubernetes API as Windlass speaks it: one warm connection, server-side apply, ownership that can be checked."""
