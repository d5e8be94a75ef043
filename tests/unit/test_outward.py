"""Where a notification may go: the public Internet, and private addresses only where the document says so."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from windlass.errors import PermanentError
from workers.addresses import allowed
from workers.notify.formats import Request
from workers.notify.outward import Outward

EMPTY = Request({}, b"")


@pytest.mark.parametrize(
    ("address", "public", "private"),
    [
        ("93.184.216.34", True, True),
        ("2606:2800:220:1::1", True, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("10.1.2.3", False, True),
        ("192.168.0.1", False, True),
        ("fd12::1", False, True),
        ("::ffff:10.0.0.1", False, True),
        ("::ffff:169.254.169.254", False, False),
        ("169.254.169.254", False, False),
        ("169.254.1.1", False, False),
        ("fe80::1%eth0", False, False),
        ("fd00:ec2::254", False, False),
        ("168.63.129.16", False, False),
        ("100.100.100.200", False, False),
        ("192.0.0.192", False, False),
        ("0.0.0.0", False, False),
        ("::", False, False),
        ("224.0.0.1", False, False),
        ("64:ff9b::a9fe:a9fe", False, False),
        ("2002:a9fe:a9fe::", False, False),
    ],
)
def test_which_addresses_may_be_called(address: str, public: bool, private: bool) -> None:
    assert (allowed(address, private=False), allowed(address, private=True)) == (public, private)


@given(st.ip_addresses(v=4))
def test_an_ipv4_address_is_judged_alike_in_ipv6s_clothes(address: ipaddress.IPv4Address) -> None:
    for private in (False, True):
        assert allowed(f"::ffff:{address}", private=private) == allowed(str(address), private=private)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("https://127.0.0.1/hook/the-secret", "not one of the public Internet"),
        ("https://[::1]/the-secret", "not one of the public Internet"),
        ("https://169.254.169.254/the-secret", "not one of the public Internet"),
        ("https://localhost/the-secret", "not one of the public Internet"),
        ("http://chat.example/the-secret", "is not https"),
        ("ftp://chat.example/the-secret", "not an http"),
        ("the-secret", "not an http"),
        ("https://[the-secret", "not an http"),
    ],
)
async def test_a_refused_address_is_no_part_of_the_error(url: str, why: str) -> None:
    outward = Outward()
    try:
        with pytest.raises(PermanentError, match=why) as caught:
            await outward.post(url, EMPTY, private=False)
        assert "the-secret" not in str(caught.value)
        assert caught.value.__suppress_context__ or caught.value.__context__ is None
    finally:
        await outward.close()
