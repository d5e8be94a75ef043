"""Over SSH, against a real sshd: the one key, the one known host, and no other (threat D5)."""

import contextlib
import getpass
import os
import shutil
import socket
import stat
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.integration.aiogit.conftest import MAIN
from tests.parts.process import free_port
from workers.aiogit import Limits, Remote
from workers.aiogit.errors import AuthenticationError, GitError, RefusedUrlError

pytestmark = pytest.mark.integration


class Sshd(NamedTuple):
    port: int
    url: str
    user_key: bytes
    other_key: bytes
    known_hosts: bytes
    other_known_hosts: bytes


def keygen(path: Path) -> bytes:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)
    return path.read_bytes()


@pytest.fixture
def sshd(tmp_path, shop):
    program = shutil.which("sshd") or "/usr/sbin/sshd"
    assert Path(program).exists(), "no sshd: `make` installs openssh-server"
    folder, port = tmp_path / "sshd", free_port()
    folder.mkdir()
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd's own, when root starts it
    user_key, other_key = keygen(folder / "user"), keygen(folder / "other")
    keygen(folder / "host")
    keygen(folder / "other_host")
    (folder / "authorized_keys").write_bytes((folder / "user.pub").read_bytes())
    (folder / "sshd_config").write_text(
        f"ListenAddress 127.0.0.1\nPort {port}\nHostKey {folder}/host\nPidFile none\nUsePAM no\nStrictModes no\n"
        f"AuthorizedKeysFile {folder}/authorized_keys\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "PermitRootLogin prohibit-password\n"
    )
    process = subprocess.Popen([program, "-D", "-e", "-f", str(folder / "sshd_config")], stderr=subprocess.DEVNULL)
    for _ in range(100):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            break
        time.sleep(0.05)
    name = f"[127.0.0.1]:{port} ".encode()
    yield Sshd(
        port,
        f"ssh://{getpass.getuser()}@127.0.0.1:{port}{shop.folder}",
        user_key,
        other_key,
        name + (folder / "host.pub").read_bytes(),
        name + (folder / "other_host.pub").read_bytes(),
    )
    process.terminate()
    process.wait()


async def test_the_right_key_and_a_known_host(opened, sshd, shop):
    old = shop.push({"shop/a.yaml": "1"})
    repository = await opened(Remote(sshd.url, ssh_key=sshd.user_key, known_hosts=sshd.known_hosts))
    assert await repository.tip(MAIN) == old
    assert await repository.tip("refs/heads/none") is None
    fetched = await repository.fetch(MAIN, old, name="shop-main")
    assert (fetched.way, fetched.reason) == ("git", "ssh")
    new = shop.push({"shop/a.yaml": "2"})
    await repository.fetch(MAIN, new, name="shop-main")
    assert len(repository.diff(old, new, "shop")) == 1


async def test_an_annotated_tag_is_peeled(opened, sshd, shop):
    commit = shop.push({"a.yaml": "1"})
    shop.tree.git("tag", "-a", "v1", "-m", "one")
    shop.tree.push(ref="--tags")
    repository = await opened(Remote(sshd.url, ssh_key=sshd.user_key, known_hosts=sshd.known_hosts))
    assert await repository.tip("refs/tags/v1") == commit


async def test_a_host_with_another_key_is_refused(opened, sshd, shop):
    shop.push({"a.yaml": "1"})
    repository = await opened(Remote(sshd.url, ssh_key=sshd.user_key, known_hosts=sshd.other_known_hosts))
    with pytest.raises(AuthenticationError, match="knownHosts"):
        await repository.tip(MAIN)
    with pytest.raises(AuthenticationError, match="knownHosts"):
        await repository.fetch(MAIN, shop.tree.head, name="shop-main")


async def test_an_unknown_host_is_refused(opened, sshd, shop):
    shop.push({"a.yaml": "1"})
    unknown = b"git.shop.example " + sshd.known_hosts.partition(b" ")[2]
    repository = await opened(Remote(sshd.url, ssh_key=sshd.user_key, known_hosts=unknown))
    with pytest.raises(AuthenticationError, match="knownHosts"):
        await repository.tip(MAIN)


async def test_a_machine_that_would_trust_any_host_changes_nothing(opened, sshd, shop, tmp_path, monkeypatch):
    home = tmp_path / "home"
    (home / ".ssh").mkdir(parents=True)
    (home / ".ssh" / "config").write_text("Host *\n  StrictHostKeyChecking no\n")
    (home / ".ssh" / "known_hosts").write_bytes(sshd.known_hosts)
    monkeypatch.setenv("HOME", str(home))
    shop.push({"a.yaml": "1"})
    repository = await opened(Remote(sshd.url, ssh_key=sshd.user_key, known_hosts=sshd.other_known_hosts))
    with pytest.raises(AuthenticationError):
        await repository.tip(MAIN)


async def test_a_wrong_key_is_refused(opened, sshd, shop):
    shop.push({"a.yaml": "1"})
    repository = await opened(Remote(sshd.url, ssh_key=sshd.other_key, known_hosts=sshd.known_hosts))
    with pytest.raises(AuthenticationError, match="credentials"):
        await repository.tip(MAIN)


async def test_without_a_key_or_known_hosts_nothing_is_asked(opened, sshd):
    for remote in (Remote(sshd.url, ssh_key=sshd.user_key), Remote(sshd.url, known_hosts=sshd.known_hosts)):
        repository = await opened(remote)
        with pytest.raises(RefusedUrlError):
            await repository.tip(MAIN)


async def test_the_key_lies_in_a_private_file_that_goes(opened, sshd, shop):
    shop.push({"a.yaml": "1"})
    repository = await opened(Remote(sshd.url, ssh_key=sshd.user_key, known_hosts=sshd.known_hosts))
    await repository.tip(MAIN)
    scratch = Path(repository._scratch.name)
    assert stat.S_IMODE(scratch.stat().st_mode) == 0o700
    assert stat.S_IMODE((scratch / "key").stat().st_mode) == 0o600
    await repository.close()
    assert not scratch.exists()


async def test_a_server_that_hangs_is_left_in_time(opened, sshd, shop):
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        url = f"ssh://git@127.0.0.1:{mute.getsockname()[1]}/shop.git"
        repository = await opened(
            Remote(url, ssh_key=sshd.user_key, known_hosts=sshd.known_hosts), limits=Limits(tip_seconds=1)
        )
        started = time.monotonic()
        with pytest.raises(GitError):
            await repository.tip(MAIN)
        assert time.monotonic() - started < 4
