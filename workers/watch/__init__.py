"""The watcher: drift found by metadata-only watches and undone object by object. `role` holds the lease and starts the rest."""
