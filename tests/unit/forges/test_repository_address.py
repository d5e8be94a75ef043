"""A repository's address: the same however it is spelled, and never anything but an exact host and path (threat A5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.forges import all_addresses
from windlass.forges.address import Address, repository_address

SHOP = Address("git.example", "shop/manifests")


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example/shop/manifests.git",
        "https://git.example/shop/manifests",
        "https://git.example/shop/manifests/",
        "https://git.example/shop/manifests.git/",
        "https://git.example:443/shop/manifests",
        "http://git.example/shop/manifests",
        "http://git.example:80/shop/manifests",
        "https://user:token@git.example/shop/manifests.git",
        "https://GIT.Example./shop/manifests",
        "ssh://git@git.example/shop/manifests.git",
        "ssh://git@git.example:22/shop/manifests.git",
        "ssh://git@git.example:7999/shop/manifests.git",
        "git@git.example:shop/manifests.git",
        "git.example:shop/manifests.git",
        "git://git.example/shop/manifests.git",
        "https://git.example/shop/%6Danifests",
    ],
)
def test_spellings_of_one_repository_are_equal(url: str) -> None:
    assert repository_address(url) == SHOP


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example/.*",
        "https://.*/shop/manifests",
        "https://git.example/shop/manifests2",
        "https://git.example/shop/manifests/wiki",
        "https://git.example/evil/shop/manifests",
        "https://git.example:8443/shop/manifests",
        "https://git.example.evil.com/shop/manifests",
        "https://evil.com/git.example/shop/manifests",
        "https://git.example@evil.com/shop/manifests",
        "https://git.example%2fshop/manifests",
        "https://git.example/Shop/Manifests",
    ],
)
def test_other_repositories_are_not_equal(url: str) -> None:
    assert repository_address(url) != SHOP


@pytest.mark.parametrize(
    "url",
    [
        "",
        "shop/manifests",
        "/srv/git/manifests",
        "file:///srv/git/manifests",
        "https://",
        "https:///shop/manifests",
        "https://git.example",
        "https://git.example/",
        "https://git.example/.git",
        "https://evil.com/x?https://git.example/shop/manifests",
        "https://evil.com/x#https://git.example/shop/manifests",
        "https://git.example/shop/../shop/manifests",
        "https://git.example/shop/./manifests",
        "https://git.example/shop//manifests",
        "https://git.example/shop/%2e%2e/manifests",
        "https://git.example/shop/mani%0afests",
        "https://git.example/shop/manifests\n",
        "https://git.example\\@evil.com/shop/manifests",
        "https://git.example:port/shop/manifests",
        "https://git.example:99999/shop/manifests",
        "https://[::1/shop/manifests",
        "ftp://git.example/shop/manifests",
    ],
)
def test_what_is_no_address_matches_nothing(url: str) -> None:
    assert repository_address(url) is None


def test_a_port_of_http_is_part_of_the_host() -> None:
    assert repository_address("http://127.0.0.1:3000/shop/manifests.git") == ("127.0.0.1:3000", "shop/manifests")
    assert repository_address("https://[::1]:3000/shop/manifests.git") == ("[::1]:3000", "shop/manifests")


def test_case_is_folded_only_for_forges_that_ignore_it() -> None:
    url = "https://github.com/Octo-Shop/Manifests"
    assert repository_address(url) == ("github.com", "Octo-Shop/Manifests")
    assert repository_address(url, fold_case=True) == ("github.com", "octo-shop/manifests")


def test_an_azure_repository_has_all_its_addresses() -> None:
    spellings = [
        "https://dev.azure.com/octo/Web%20Shop/_git/manifests",
        "https://octo@dev.azure.com/octo/Web%20Shop/_git/manifests",
        "git@ssh.dev.azure.com:v3/octo/Web%20Shop/manifests",
        "https://octo.visualstudio.com/Web%20Shop/_git/manifests",
        "https://octo.visualstudio.com/DefaultCollection/Web%20Shop/_git/manifests",
    ]
    assert len({frozenset(all_addresses("azure", url)) for url in spellings}) == 1
    assert not all_addresses("azure", spellings[0]) & all_addresses(
        "azure", "https://dev.azure.com/octo/Other/_git/manifests"
    )


def test_an_azure_repository_of_its_projects_name_has_the_short_address_too() -> None:
    long, short = "https://dev.azure.com/octo/shop/_git/shop", "https://octo.visualstudio.com/_git/shop"
    assert all_addresses("azure", long) == all_addresses("azure", short)


def test_a_server_of_ones_own_is_not_taken_for_azures() -> None:
    assert all_addresses("azure", "https://tfs.example/tfs/Col/Shop/_git/m") == {("tfs.example", "tfs/col/shop/_git/m")}


@given(st.text(max_size=60) | st.from_regex(r"(https?|ssh)://[a-z@:\[\]%./?#0-9]{0,30}", fullmatch=True))
def test_any_text_is_an_address_or_none(url: str) -> None:
    address = repository_address(url)
    assert address is None or (address.host and address.path and not set("?#\\") & set(address.path))


def test_what_is_too_long_for_an_address_is_none_and_is_not_remembered() -> None:
    assert repository_address("https://github.com/o/" + "r" * 2000) is not None
    assert repository_address("https://github.com/o/" + "r" * 3000) is None
