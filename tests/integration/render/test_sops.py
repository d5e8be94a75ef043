"""Files encrypted with SOPS' own program: opened with the application's keys, never on a disk, and never with others."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.render.conftest import TARGET, Committer, programs, source
from tests.parts.build import binary
from windlass.documents.base import SecretRef
from windlass.documents.rendering import HelmOptions, SopsOptions
from windlass.errors import TransientError
from windlass.secrets import Secrets
from workers.render.commit_tree import RenderError
from workers.render.renderer import Renderer
from workers.render.sops import is_encrypted

pytestmark = pytest.mark.integration

RECIPIENT = "age16wptw2cqm7z65pd8j3kxdy366q4lpn62zdhmru4yp3fr9u3am56qlfxg5l"
IDENTITY = "AGE-SECRET-KEY-19QMW6023QT9HYFUQQHN73M2XYRVHTCKE5W85M9NMVXXAVDEM4WFSUT0QWK"
OTHER = "AGE-SECRET-KEY-1X7FQWCTFQDNQK452PS8PEDL8VTW5CQ24UVS4A48HPR8WGR3SQ6WQQ3L9WH"
"""Keys of these tests, and of nothing else."""

SECRET = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: login\nstringData:\n  password: hunter2-of-the-shop\n"
AGE = SopsOptions(age=(SecretRef(env="WINDLASS_TEST_AGE"),))


def encrypted(text: str, kind: str = "yaml", recipients: tuple[str, ...] = ("--age", RECIPIENT), **env: str) -> bytes:
    """``text`` as `sops encrypt` leaves it; of YAML only what is secret."""
    only = ["--encrypted-regex", "^(data|stringData|password)$"] if kind == "yaml" else []
    command = [str(binary("sops")), "--disable-version-check", "encrypt", *recipients, *only]
    command += ["--input-type", kind, "--output-type", kind, "--filename-override", f"in.{kind}"]
    done = subprocess.run(command, input=text.encode(), capture_output=True, check=False, env={**os.environ, **env})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
async def renderer(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Renderer]:
    monkeypatch.setenv("WINDLASS_TEST_AGE", IDENTITY)
    made = Renderer(Secrets(), programs={**programs(), "sops": str(binary("sops"))})
    await made.open()
    if not made.scratch.in_memory:
        pytest.skip("this machine has no folder in memory")
    yield made
    made.close()


async def test_a_manifest(renderer: Renderer, commit: Committer) -> None:
    tree = commit({"app/secret.yaml": encrypted(SECRET)})
    output = await renderer.render(tree, source("app", sops=AGE), TARGET)
    assert output.manifests[0].body["stringData"] == {"password": "hunter2-of-the-shop"}
    assert "sops" not in output.manifests[0].body


async def test_what_a_kustomization_generates_from_and_builds_on(renderer: Renderer, commit: Committer) -> None:
    files = {
        "app/kustomization.yaml": "resources: [secret.yaml]\nnamePrefix: x-\n"
        "secretGenerator: [{name: env, envs: [login.env]}, {name: file, files: [cert.pem]}]\n",
        "app/secret.yaml": encrypted(SECRET),
        "app/login.env": encrypted("TOKEN=abc-of-the-shop\n", "dotenv"),
        "app/cert.pem": encrypted("a certificate", "binary"),
    }
    output = await renderer.render(commit(files), source("app", sops=AGE), TARGET)
    bodies = {manifest.name.split("-")[1]: manifest.body for manifest in output.manifests}
    assert bodies["login"]["stringData"] == {"password": "hunter2-of-the-shop"}
    assert bodies["env"]["data"] == {"TOKEN": "YWJjLW9mLXRoZS1zaG9w"}
    assert bodies["file"]["data"] == {"cert.pem": "YSBjZXJ0aWZpY2F0ZQ=="}


async def test_values_of_a_chart(renderer: Renderer, commit: Committer) -> None:
    template = "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {password: {{ .Values.password }}}\n"
    files = {
        "db/Chart.yaml": "apiVersion: v2\nname: db\nversion: 1.0.0\n",
        "db/templates/a.yaml": template,
        "secrets/db.yaml": encrypted("password: hunter2-of-the-shop\n"),
    }
    asked = source("db", helm=HelmOptions(values_files=("/secrets/db.yaml",)), sops=AGE)
    output = await renderer.render(commit(files), asked, TARGET)
    assert output.manifests[0].body["stringData"] == {"password": "hunter2-of-the-shop"}


async def test_nothing_decrypted_stays_in_a_file(renderer: Renderer, commit: Committer) -> None:
    await renderer.render(commit({"app/secret.yaml": encrypted(SECRET)}), source("app", sops=AGE), TARGET)
    root = renderer.scratch._root
    assert root is not None
    assert [path.name for path in Path(root).rglob("*")] == [".lock"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (None, "names no keys"),
        (SopsOptions(age=(SecretRef(env="WINDLASS_TEST_OTHER"),)), "none of the application's keys opens it"),
        (SopsOptions(pgp=(SecretRef(env="WINDLASS_TEST_AGE"),)), r"encrypted for keys of other kinds \(age\)"),
    ],
)
async def test_without_the_right_key_it_stays_closed(
    renderer: Renderer,
    commit: Committer,
    monkeypatch: pytest.MonkeyPatch,
    options: SopsOptions | None,
    message: str,
) -> None:
    monkeypatch.setenv("WINDLASS_TEST_OTHER", OTHER)
    monkeypatch.setenv("SOPS_AGE_KEY", IDENTITY)  # the worker's own environment is no key of the application
    with pytest.raises(RenderError, match=f"^app/secret.yaml: .*{message}"):
        await renderer.render(commit({"app/secret.yaml": encrypted(SECRET)}), source("app", sops=options), TARGET)


async def test_a_key_that_is_not_there_yet_is_worth_another_try(renderer: Renderer, commit: Committer) -> None:
    missing = SopsOptions(age=(SecretRef(env="WINDLASS_TEST_NOT_SET"),))
    with pytest.raises(TransientError, match="WINDLASS_TEST_NOT_SET"):
        await renderer.render(commit({"app/secret.yaml": encrypted(SECRET)}), source("app", sops=missing), TARGET)


async def test_what_was_changed_after_it_was_encrypted_is_refused(renderer: Renderer, commit: Committer) -> None:
    changed = encrypted(SECRET).replace(b"name: login", b"name: other")
    with pytest.raises(RenderError, match="its MAC does not match") as caught:
        await renderer.render(commit({"app/secret.yaml": changed}), source("app", sops=AGE), TARGET)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("spelling", ["https://evil.example", '"https://\\x65vil.example"'])
async def test_the_metadata_does_not_choose_who_gets_our_token(
    renderer: Renderer, commit: Committer, monkeypatch: pytest.MonkeyPatch, spelling: str
) -> None:
    monkeypatch.setenv("VAULT_ADDR", "https://vault.example")
    vault = f"sops:\n    hc_vault:\n    - vault_address: {spelling}\n      engine_path: a\n      key_name: b\n      enc: c\n"
    forged = encrypted(SECRET).replace(b"sops:\n", vault.encode())
    with pytest.raises(RenderError, match="another Vault"):
        await renderer.render(commit({"app/s.yaml": forged}), source("app", sops=SopsOptions(cloud=("vault",))), TARGET)


@pytest.fixture
def ring(tmp_path: Path) -> Iterator[Path]:
    """An empty keyring, whose agent ends with the test."""
    home = tmp_path / "gnupg"
    home.mkdir(0o700)
    yield home
    subprocess.run(["gpgconf", "--homedir", str(home), "--kill", "gpg-agent"], check=True)


async def test_a_pgp_key(renderer: Renderer, commit: Committer, tmp_path: Path, ring: Path) -> None:
    gpg = ["gpg", "--homedir", str(ring), "--batch", "--quiet", "--passphrase", "", "--pinentry-mode", "loopback"]
    made = [*gpg, "--quick-gen-key", "shop@shop.example", "default", "default", "never"]
    subprocess.run(made, check=True, capture_output=True)
    listed = subprocess.run([*gpg, "--list-keys", "--with-colons"], check=True, capture_output=True, text=True).stdout
    fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr"))
    key = subprocess.run([*gpg, "--export-secret-keys", "--armor"], check=True, capture_output=True).stdout
    tree = commit({"app/secret.yaml": encrypted(SECRET, recipients=("--pgp", fingerprint), GNUPGHOME=str(ring))})
    (tmp_path / "key").write_bytes(key)
    options = SopsOptions(pgp=(SecretRef(file=str(tmp_path / "key")),))
    output = await renderer.render(tree, source("app", sops=options), TARGET)
    assert output.manifests[0].body["stringData"] == {"password": "hunter2-of-the-shop"}
    deadline = asyncio.get_running_loop().time() + 30  # gpg's agent ends when its folder went
    while any(str(renderer.scratch._root) in " ".join(process.info["cmdline"] or ()) for process in processes()):
        assert asyncio.get_running_loop().time() < deadline
        await asyncio.sleep(0.1)


def processes() -> list[psutil.Process]:
    return list(psutil.process_iter(["cmdline"]))


def test_what_is_encrypted() -> None:
    assert is_encrypted(encrypted(SECRET))
    assert is_encrypted(encrypted("A=b\n", "dotenv"))
    assert is_encrypted(encrypted("text", "binary"))
    assert not is_encrypted(SECRET.encode())
    assert not is_encrypted(b"data:\n  sops: ENC[AES256_GCM,\n")
