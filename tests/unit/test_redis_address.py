"""What a REDIS_URL says: a server, or the Sentinels that know one."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.connection import parse_url

from windlass.redis_address import AddressError, Sentinels, completed, sentinels


@pytest.mark.parametrize(
    "url", ["redis://:pw@host:6379/0", "rediss://host", "unix:///run/redis.sock", "redis://[::1]:6379"]
)
def test_a_server_has_no_sentinels(url: str) -> None:
    assert sentinels(url) is None


def test_sentinels_with_all_that_can_be_said() -> None:
    url = "rediss+sentinel://user:p%40w@one:26380,[::1],three/main/2?sentinel_password=s&ssl_ca_certs=%2Fca.crt"
    assert sentinels(url) == Sentinels(
        nodes=(("one", 26380), ("::1", 26379), ("three", 26379)),
        master="main",
        server="rediss://user:p%40w@sentinel/2?ssl_ca_certs=%2Fca.crt",
        username=None,
        password="s",
    )


def test_the_database_is_the_first_by_default() -> None:
    found = sentinels("redis+sentinel://host/mymaster")
    assert found is not None
    assert found.server == "redis://sentinel/0"


@pytest.mark.parametrize(
    "url",
    [
        "http://host",
        "redis+sentinel://host",
        "redis+sentinel:///mymaster",
        "redis+sentinel://host:0/mymaster",
        "redis+sentinel://host:99999/mymaster",
        "redis+sentinel://host,/mymaster",
        "redis+sentinel://host/my master",
        "redis+sentinel://host/mymaster/x",
        "redis+sentinel://host/mymaster/0/1",
        "redis+sentinel://secret-word@ho st/mymaster/0",
        "redis+sentinel://[::1/mymaster",
        "redis://host:port",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(AddressError) as refused:
        sentinels(url)
    assert "secret-word" not in str(refused.value)


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_refused(text: str) -> None:
    for url in (text, f"redis+sentinel://{text}"):
        try:
            sentinels(url)
        except AddressError as error:
            assert "expected" in str(error)  # noqa: PT017 - either is right


@pytest.mark.parametrize(
    ("url", "whole"),
    [
        ("redis://host:6379/0", "redis://:p%40%2F%25@host:6379/0"),
        ("redis://user@host", "redis://user:p%40%2F%25@host"),
        ("redis://user:own@host/1", "redis://user:own@host/1"),
        ("rediss://host/0?db=2", "rediss://:p%40%2F%25@host/0?db=2&ssl_ca_certs=%2Fca.crt"),
        ("rediss://host?ssl_ca_certs=/b", "rediss://:p%40%2F%25@host?ssl_ca_certs=/b"),
        ("rediss+sentinel://a,b:1/main", "rediss+sentinel://:p%40%2F%25@a,b:1/main?ssl_ca_certs=%2Fca.crt"),
        ("unix:///run/redis.sock", "unix://:p%40%2F%25@/run/redis.sock"),
    ],
)
def test_password_and_authority_are_completed_where_the_address_names_none(url: str, whole: str) -> None:
    assert completed(url, password="p@/%", ca_file="/ca.crt") == whole


def test_nothing_said_beside_an_address_leaves_it_as_it_is() -> None:
    for url in ("", "redis://host", "rediss://a:b@host/0?x=y", "no address"):
        assert completed(url) == url


@given(st.text(min_size=1, alphabet=st.characters(exclude_categories=["Cs", "Cc"])))
def test_any_password_arrives_as_it_is(password: str) -> None:
    for url in ("redis://host:6379/0", "rediss+sentinel://host,host2/main/0"):
        whole = completed(url, password=password)
        found = sentinels(whole)
        parsed = parse_url(whole if found is None else found.server)
        assert parsed["password"] == password
