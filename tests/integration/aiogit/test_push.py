"""Pushing over SSH, to a host that is known and to one that isn't; and what is refused before anything is sent."""

from __future__ import annotations

import pytest

from tests.integration.aiogit.test_ssh import sshd  # noqa: F401 - a fixture
from workers.aiogit import Remote
from workers.aiogit.errors import AuthenticationError, RefNotFoundError
from workers.promote.push import RaceError, push

pytestmark = pytest.mark.integration


async def fetched(opened, shop, remote):
    old = shop.push({"a.yaml": "1"})
    new = shop.tree.commit({"a.yaml": "2"})
    repository = await opened(remote)
    shop.tree.git("push", "-q", "origin", "main:elsewhere")
    await repository.fetch("refs/heads/elsewhere", new, name="elsewhere")
    return repository, old, new


async def test_over_ssh(opened, sshd, shop):  # noqa: F811
    remote = Remote(sshd.url, ssh_key=sshd.user_key, known_hosts=sshd.known_hosts)
    repository, old, new = await fetched(opened, shop, remote)
    with pytest.raises(RaceError):
        await push(repository, new, "main", expected=new)
    with pytest.raises(RaceError):
        await push(repository, new, "main", expected=None)
    await push(repository, new, "main", expected=old)
    assert await repository.tip("refs/heads/main") == new


async def test_never_to_a_host_that_is_not_known(opened, sshd, shop):  # noqa: F811
    known = Remote(sshd.url, ssh_key=sshd.user_key, known_hosts=sshd.known_hosts)
    _, old, new = await fetched(opened, shop, known)
    for remote in (
        Remote(sshd.url, ssh_key=sshd.user_key, known_hosts=sshd.other_known_hosts),
        Remote(sshd.url, ssh_key=sshd.other_key, known_hosts=sshd.known_hosts),
    ):
        stranger = await opened(remote)
        with pytest.raises(AuthenticationError):
            await push(stranger, new, "main", expected=old)


@pytest.mark.parametrize("branch", ["-x", "a b", "a..b", "x.lock", "+main", "a:b", "", "x\n--exec=id"])
async def test_a_name_that_is_no_branchs_is_not_sent(opened, shop, branch):
    repository, old, new = await fetched(opened, shop, Remote(shop.url))
    before = len(shop.server.requests)
    if branch in ("-x", "+main"):  # names of refs all the same, behind refs/heads/
        await push(repository, new, branch, expected=None)
        assert await repository.tip(f"refs/heads/{branch}") == new
        return
    with pytest.raises(RefNotFoundError):
        await push(repository, new, branch, expected=old)
    assert len(shop.server.requests) == before
