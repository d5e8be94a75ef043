"""Files encrypted with SOPS (https://getsops.io), decrypted by its own program: in on standard input, out on standard output.

What must hold: what is decrypted is never on a disk; keys are the operator's, named by the application's document: a file that
asks for other kinds of keys is refused before the program starts, because its metadata would choose which server gets our
credentials; the program has no network unless a cloud's KMS is allowed, and nothing of the tree can make it run something.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from collections.abc import Mapping
from typing import Any

import orjson

from windlass.documents.rendering import CloudKeys, SopsOptions
from windlass.secrets import Secrets
from windlass.yamls import YamlError, load_all
from workers.render.commit_tree import RenderError
from workers.render.programs import Program
from workers.render.sandbox import Sandbox
from workers.render.scratch import Folder, Scratch

LARGEST = 8 << 20

_MARKS = re.compile(rb'^sops:\s*$|^sops_mac=|"sops"\s*:\s*\{|^\[sops\]\s*$', re.MULTILINE)
_ENCRYPTED = b"ENC[AES256_GCM,"
_FLAT = re.compile(r"^sops_([a-z_]+?)__(?:list|map)_", re.MULTILINE)
_FIELDS = {"age": "age", "pgp": "pgp", "kms": "aws", "gcp_kms": "gcp", "azure_kv": "azure", "hc_vault": "vault"}
_ENVIRONMENT: dict[CloudKeys, tuple[str, ...]] = {
    "aws": ("AWS_",),
    "gcp": ("GOOGLE_", "CLOUDSDK_"),
    "azure": ("AZURE_",),
    "vault": ("VAULT_",),
}
_COMMON = ("HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")


def is_encrypted(data: bytes) -> bool:
    """Does the file carry SOPS' metadata, and something that it encrypted?"""
    return _ENCRYPTED in data and _MARKS.search(data) is not None


class Sops:
    """Decrypts files with keys that the operator chose."""

    def __init__(
        self, sandbox: Sandbox, scratch: Scratch, secrets: Secrets, environ: Mapping[str, str] | None = None
    ) -> None:
        self._sandbox, self._scratch, self._secrets = sandbox, scratch, secrets
        self._environ = os.environ if environ is None else environ

    async def decrypt(self, program: Program, data: bytes, file: str, options: SopsOptions) -> bytes:
        """The file's plain content.

        :raises RenderError: no key of ours opens it, it asks for a key that it must not, or it was tampered with.
        :raises TransientError: a key isn't there (yet).
        """
        if len(data) > LARGEST:
            raise RenderError(f"more than {LARGEST} encrypted bytes", file)
        kind = _kind(file)
        self._check(data, kind, file, options)
        async with self._scratch.folder({}) as made:
            environment = await self._keys(made, options, file)
            types = ("--input-type", kind, "--output-type", kind)
            command = [program.path, "--disable-version-check", "decrypt", *types, "--filename-override", f"in.{kind}"]
            finished = await self._sandbox.run(
                command,
                folder=made.files,
                home=made.home,
                stdin=data,
                environment=environment,
                network=bool(options.cloud),
            )
        if finished.code:
            raise RenderError(f"can't be decrypted: {_reason(finished.err)}", file)
        return finished.out

    def _check(self, data: bytes, kind: str, file: str, options: SopsOptions) -> None:
        """Refuse a file that asks for keys of a kind that the application's document does not name."""
        allowed = {*options.cloud, *(["age"] if options.age else ()), *(["pgp"] if options.pgp else ())}
        asked = _asked(data, kind, file)
        if not asked & allowed:
            names = ", ".join(sorted(asked)) or "none"
            raise RenderError(f"is encrypted for keys of other kinds ({names}) than the application's", file)
        foreign = (asked & set(_ENVIRONMENT)) - allowed
        if foreign and (options.cloud or not self._sandbox.isolated):
            raise RenderError(
                f"asks for keys of {', '.join(sorted(foreign))}, which its application does not allow", file
            )
        if "vault" in asked & allowed:
            ours = self._environ.get("VAULT_ADDR", "").rstrip("/")
            if kind not in ("yaml", "json") or any(address != ours for address in _vaults(data, kind, file)):
                raise RenderError("asks for keys of another Vault than the worker's VAULT_ADDR", file)

    async def _keys(self, made: Folder, options: SopsOptions, file: str) -> dict[str, str]:
        environment: dict[str, str] = {}
        if options.age:
            identities = [self._secrets.resolve(ref).decode("utf-8", "replace").strip() for ref in options.age]
            environment["SOPS_AGE_KEY"] = "\n".join(identities)
        if options.pgp:
            environment |= await self._keyring(made, options, file)
        for cloud in options.cloud:
            for name, value in self._environ.items():
                if name.startswith(_ENVIRONMENT[cloud]) or name in _COMMON:
                    environment[name] = value
        return environment

    async def _keyring(self, made: Folder, options: SopsOptions, file: str) -> dict[str, str]:
        """A keyring of its own, in memory, for gpg, which SOPS asks."""
        gpg = shutil.which("gpg")
        if gpg is None:
            raise RenderError("PGP keys need `gpg` on the worker's PATH", file)
        if not self._scratch.in_memory:
            raise RenderError("PGP keys need a scratch folder in memory (/dev/shm), so that no key is on a disk", file)
        ring = made.home / "gnupg"
        await asyncio.to_thread(ring.mkdir, 0o700)
        environment = {"GNUPGHOME": str(ring), "SOPS_GPG_EXEC": gpg, "PATH": os.path.dirname(gpg)}  # noqa: PTH120
        for ref in options.pgp:
            key = self._secrets.resolve(ref)
            command = [gpg, "--batch", "--quiet", "--no-tty", "--import"]
            finished = await self._sandbox.run(
                command, folder=made.files, home=made.home, stdin=key, environment=environment
            )
            if finished.code:
                raise RenderError("a PGP key of the application can't be imported", file)
        return environment


def _kind(file: str) -> str:
    suffix = file.rpartition(".")[2].lower()
    return {"yaml": "yaml", "yml": "yaml", "json": "json", "env": "dotenv", "ini": "ini"}.get(suffix, "binary")


def _holders(data: bytes, kind: str, file: str) -> list[dict[str, Any]]:
    """The mappings of keys in a file's metadata: its own, and those of groups of keys."""
    try:
        values = [parsed.value for parsed in load_all(data)] if kind == "yaml" else [orjson.loads(data)]
    except (YamlError, orjson.JSONDecodeError):
        raise RenderError("carries SOPS' mark, but can't be read", file) from None
    found: list[dict[str, Any]] = []
    for value in values:
        metadata = value.get("sops") if isinstance(value, dict) else None
        if isinstance(metadata, dict):
            groups = metadata.get("key_groups")
            found += [metadata, *(group for group in groups or () if isinstance(group, dict))]
    return found


def _asked(data: bytes, kind: str, file: str) -> set[str]:
    """The kinds of keys that the file's metadata names."""
    if kind in ("dotenv", "ini"):
        text = data.decode("utf-8", "replace")
        if kind == "ini":
            text = re.sub(r"^([a-z_]+?)__(list|map)_", r"sops_\1__\2_", text, flags=re.MULTILINE)
        if re.search(r"^(sops_)?key_groups", text, re.MULTILINE):
            raise RenderError("has groups of keys, which this format is not read with", file)
        return {_FIELDS[name] for name in _FLAT.findall(text) if name in _FIELDS}
    return {_FIELDS[name] for holder in _holders(data, kind, file) for name in _FIELDS if holder.get(name)}


def _vaults(data: bytes, kind: str, file: str) -> set[str]:
    """The addresses of the Vaults that the file's metadata asks: they would get our token."""
    keys = [key for holder in _holders(data, kind, file) for key in holder.get("hc_vault") or ()]
    return {str(key.get("vault_address")).rstrip("/") if isinstance(key, dict) else "" for key in keys}


def _reason(said: str) -> str:
    """What SOPS said, reduced to what it is: it repeats recipients and file names, and may repeat more."""
    text = said.lower()
    if "mac mismatch" in text or "failed to verify" in text:
        return "its MAC does not match: it was changed after it was encrypted"
    if "0 successful groups" in text or "no identity matched" in text or "failed to get the data key" in text:
        return "none of the application's keys opens it"
    return "SOPS can't read it"
