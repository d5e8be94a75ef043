"""The environment in which a builder works here: no daemon, no privileges, and its storage in a folder of its own."""

from __future__ import annotations

from pathlib import Path


def environment(folder: Path) -> dict[str, str]:
    """What buildah and podman read (containers-storage.conf(5), buildah(1))."""
    folder.mkdir(parents=True, exist_ok=True)
    storage = folder / "storage.conf"
    storage.write_text(f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/graph"\nrunroot = "{folder}/run"\n')
    return {"CONTAINERS_STORAGE_CONF": str(storage), "STORAGE_DRIVER": "vfs", "BUILDAH_ISOLATION": "chroot"}
