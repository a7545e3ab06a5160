"""Finds free ports, and ports where a broker answers, without the library under test."""

from __future__ import annotations

import socket


def speaks_amqp(port: int) -> bool:
    """Return whether a broker answers at `port` of this machine."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
    except OSError:
        return False


def free_ports(number: int) -> list[int]:
    """Return ports that nothing listens on now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports
