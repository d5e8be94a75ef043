"""Which addresses are asked at all (threat B4), and what is shown of them."""

import pytest

from workers.aiogit.address import check_ref, parse_address
from workers.aiogit.errors import RefNotFoundError, RefusedUrlError


@pytest.mark.parametrize(
    ("url", "scheme", "host", "port", "given"),
    [
        ("https://git.shop.example/team/shop.git", "https", "git.shop.example", 443, None),
        (
            "https://GIT.shop.example:8443/team/shop",
            "https",
            "git.shop.example",
            8443,
            "https://git.shop.example:8443/team/shop",
        ),
        ("http://127.0.0.1:3000/team/shop.git", "http", "127.0.0.1", 3000, None),
        ("ssh://git@git.shop.example:2222/team/shop.git", "ssh", "git.shop.example", 2222, None),
        ("git@git.shop.example:team/shop.git", "ssh", "git.shop.example", 22, None),
        ("https://[::1]:8443/shop.git", "https", "::1", 8443, None),
    ],
)
def test_https_http_and_ssh_are_understood(url, scheme, host, port, given):
    address = parse_address(url)
    assert (address.scheme, address.host, address.port) == (scheme, host, port)
    assert address.url == (given or url)


@pytest.mark.parametrize(
    "url",
    [
        "ext::sh -c touch% /tmp/pwned",
        "ext::sh",
        "--upload-pack=touch /tmp/pwned",
        "--upload-pack=evil:shop.git",
        "-oProxyCommand=evil:shop.git",
        "ssh://-oProxyCommand=evil/shop.git",
        "ssh://git@-oProxyCommand=evil/shop.git",
        "ssh://-l@host/shop.git",
        "-x@host:shop.git",
        "ssh://host/-shop.git",
        "host:-shop.git",
        "file:///etc",
        "/etc/passwd",
        "../shop.git",
        "git://host/shop.git",
        "ftp://host/shop.git",
        "https://",
        "https:///shop.git",
        "https://host",
        "https://host/",
        "https://host/a/../b.git",
        "https://user:secret@host/shop.git",
        "https://user@host/shop.git",
        "ssh://user:secret@host/shop.git",
        "https://host/shop.git?service=x",
        "https://host/shop.git#x",
        "https://host:99999/shop.git",
        "https://host/shop.git\nHost: evil",
        "https://host/`id`.git",
        "https://host/$(id).git",
        "https://ho st/shop.git",
        "https://host\\@evil/shop.git",
        "",
        "https://host/" + "a" * 3000,
    ],
)
def test_anything_else_is_refused_and_not_repeated(url):
    with pytest.raises(RefusedUrlError) as raised:
        parse_address(url)
    assert "secret" not in str(raised.value)


def test_what_is_logged_holds_no_user():
    assert str(parse_address("ssh://git@git.shop.example/team/shop.git")) == "ssh://git.shop.example/team/shop.git"


@pytest.mark.parametrize("ref", ["refs/heads/main", "refs/tags/v1.2.3", "refs/heads/feature/ä-b", "HEAD", "0" * 40])
def test_full_refs_and_commit_ids_are_taken(ref):
    assert check_ref(ref) == ref


BAD_REFS = """main --output=x refs/heads/a..b refs/heads/ refs//heads refs/heads/.a refs/heads/a.lock refs/heads/a^{}
refs/heads/a:b refs/heads/* refs/heads/a@{1} refs/heads/a?b refs/heads/a~1 000000000000000000000000000000000000000"""


@pytest.mark.parametrize("ref", ["", "refs/heads/a b", "refs/heads/a\n", *BAD_REFS.split()])
def test_no_other_ref_reaches_a_server_or_a_command_line(ref):
    with pytest.raises(RefNotFoundError):
        check_ref(ref)
