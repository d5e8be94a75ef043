"""Names, URLs, refs and folders: what is let through can't be taken for an option, a helper, a local file or another place."""

from __future__ import annotations

import pygit2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.documents import syntax


@pytest.mark.parametrize(
    "url",
    [
        "https://git.example/shop/manifests.git",
        "https://git.example:8443/shop/manifests",
        "http://127.0.0.1:3000/shop/manifests.git",
        "https://org@dev.azure.com/org/project/_git/repo",
        "https://[::1]:3000/a/b.git",
        "ssh://git@git.example/shop/manifests.git",
        "ssh://git@git.example:2222/~/shop.git",
        "git@git.example:shop/manifests.git",
        "git@my_gitea:shop.git",
        "https://git.example/mañana/b",
    ],
)
def test_urls_that_a_repository_may_have(url: str) -> None:
    assert syntax.valid_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "/srv/git/x.git",
        "./x",
        "x.git",
        "file:///etc",
        "FILE:///etc",
        "git://git.example/x",
        "ftp://git.example/x",
        "ext::sh -c id",
        "ext::sh%20-c%20id",
        "fd::17",
        "transport::https://git.example/x",
        "https::git.example/x",
        "git@host::path",
        "--upload-pack=id",
        "-oProxyCommand=id@git.example:x",
        "ssh://-oProxyCommand=id/x",
        "ssh://-oProxyCommand=id@git.example/x",
        "ssh://git@-oProxyCommand=id/x",
        "git@-oProxyCommand=id:x",
        "git@git.example:-x",
        "https://user:password@git.example/x",
        "ssh://user:password@git.example/x",
        "https://git.example",
        "https://git.example/",
        "https:///x",
        "https://git.example:0/x",
        "https://git.example:70000/x",
        "https://git.example:8x/x",
        "https://git.example/a/../b",
        "git@git.example:../b",
        "https://git.example/a b",
        "https://git.example/a\nb",
        "https://git.example/a\x00",
        "https://git.example/a\u202eb",
        "https://git.example/a\u2028b",
        "https://git.example\\@evil.example/x",
        "https://git.example/x?service=git-receive-pack",
        "https://git.example/x#main",
        "https://git.example/" + "a" * 2048,
        "https://evil.example/x?https://git.example/x",
    ],
)
def test_urls_that_it_may_not_have(url: str) -> None:
    assert not syntax.valid_url(url)


@given(st.text(max_size=60) | st.from_regex(r"(https|ssh|ext|file)(://|::)[-a-z@:./%]{0,20}", fullmatch=True))
def test_a_valid_url_has_a_known_scheme_and_begins_with_no_hyphen(url: str) -> None:
    if syntax.valid_url(url):
        assert not url.startswith("-")
        assert url.isprintable()
        assert url.split("://")[0] in ("https", "http", "ssh") or ("@" in url and "://" not in url and "::" not in url)


@pytest.mark.parametrize(
    "ref", ["main", "release/1.2", "v1.2.3", "feature/ä", "a@b", "@", "HEAD", "dependabot/npm_and_yarn/x-1.0"]
)
def test_refs(ref: str) -> None:
    assert syntax.valid_ref(ref)


@pytest.mark.parametrize(
    "ref",
    [
        "",
        "--output=x",
        "-x",
        "a..b",
        "a//b",
        "/a",
        "a/",
        "a.",
        ".a",
        "a/.b",
        "a.lock",
        "a.lock/b",
        "a b",
        "a~1",
        "a^",
        "a:b",
        "a?",
        "a*",
        "a[",
        "a\\b",
        "a@{1}",
        "a\x7f",
        "a\nb",
        "a\x00",
        "a" * 251,
        "é" * 126,
        "\ud800",
    ],
)
def test_refs_that_git_refuses_or_could_misread(ref: str) -> None:
    assert not syntax.valid_ref(ref)


@given(
    st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=12)
    | st.text("ab./@{}-~^:?*[\\ \x7flock", min_size=1, max_size=12)
)
def test_refs_are_judged_as_libgit2_does_and_a_leading_hyphen_is_refused(name: str) -> None:
    assert syntax.valid_ref(name) == (_libgit2("refs/heads/" + name) and not name.startswith("-"))


def _libgit2(ref: str) -> bool:
    return "\x00" not in ref and bool(pygit2.reference_is_valid_name(ref))


@pytest.mark.parametrize("path", ["", "deploy", "clusters/prod", "a-b_c.d", "ä/b c", "..a", ".github", ".gitops"])
def test_folders(path: str) -> None:
    assert syntax.valid_folder(path)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/etc",
        "..",
        "../..",
        "a/..",
        "a/../b",
        ".",
        "./a",
        "a/",
        "a//b",
        "a/./b",
        ".git",
        "a/.git/hooks",
        ".GIT",
        "a\\..\\b",
        "a\nb",
        "a\x00b",
        "a" * 4097,
    ],
)
def test_folders_that_are_elsewhere(path: str) -> None:
    assert not syntax.valid_folder(path)


@given(st.text(max_size=30) | st.text("ab./\\", max_size=12))
def test_a_valid_folder_stays_below_the_root(path: str) -> None:
    if syntax.valid_folder(path):
        assert ".." not in path.split("/")
        assert not path.startswith("/")


@pytest.mark.parametrize(
    ("name", "good"), [("a", True), ("a-1", True), ("a" * 63, True), ("", False), ("a" * 64, False)]
)
def test_labels(name: str, good: bool) -> None:
    assert syntax.valid_label(name) is good


@pytest.mark.parametrize("name", ["A", "a_b", "a.b", "-a", "a-", "a\n", "ä", "a/b", "a" * 10_000])
def test_names_that_are_no_label(name: str) -> None:
    assert not syntax.valid_label(name)


@pytest.mark.parametrize(
    "url", ["https://api.example", "https://api.example/v1/", "http://[::1]:6443", "https://10.0.0.1:6443"]
)
def test_addresses_of_servers(url: str) -> None:
    assert syntax.valid_http(url)


@pytest.mark.parametrize(
    "url",
    [
        "api.example",
        "ftp://api.example",
        "https://",
        "https://u@api.example",
        "https://a?b",
        "https://a#b",
        "https://a b",
        "https://a:0",
    ],
)
def test_what_is_no_address_of_a_server(url: str) -> None:
    assert not syntax.valid_http(url)
