from __future__ import annotations

import socket

import pytest

from task_api.server import listen
from task_runtime import Misconfigured


def test_port_0_takes_a_free_one() -> None:
    listener = listen("127.0.0.1", 0)

    with listener.socket:
        assert listener.url == f"http://127.0.0.1:{listener.socket.getsockname()[1]}"


def test_a_port_in_use_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(Misconfigured, match="in use"):
        listen("127.0.0.1", other.getsockname()[1])


@pytest.mark.parametrize("host", ["203.0.113.1", "no-such-host.invalid"])
def test_an_address_that_is_not_of_this_machine_is_said_in_one_line(host: str) -> None:
    with pytest.raises(Misconfigured, match="TASK_API_HOST"):
        listen(host, 0)
