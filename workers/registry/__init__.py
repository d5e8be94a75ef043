"""Registries that can't call: their tags are looked at now and then."""
