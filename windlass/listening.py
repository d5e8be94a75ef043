"""Sockets that listen: one way for every port that a process opens.

What must hold: ``::`` is every address of both families, as people mean it: the libraries' servers would take IPv6's only, and in
a cluster of IPv4 no probe and no webhook would reach them. A kernel without IPv6 listens on IPv4.
"""

from __future__ import annotations

import socket

from windlass.errors import WindlassError

EVERYWHERE = "::"


def listener(host: str, port: int, *, receive_buffer: int | None = None) -> socket.socket:
    """A socket bound to ``host`` and ``port`` (0: a free one), on which nobody listens yet.

    :param receive_buffer: bytes that each of its connections buffers; None: what the system gives.
    :raises WindlassError: the address can't be had.
    """
    both = host == EVERYWHERE and socket.has_dualstack_ipv6()
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            "0.0.0.0" if host == EVERYWHERE and not both else host,  # noqa: S104 - as was asked for
            port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE,
        )[0]
        made = socket.socket(family, kind, protocol)
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if both:
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            if receive_buffer is not None:
                made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            made.bind(address)
        except OSError:
            made.close()
            raise
    except OSError as error:
        raise WindlassError(f"can't listen on {host}:{port}: {error.strerror or error}") from None
    return made
