"""RabbitMQ for tests: `pytest_plugins = ["task_bus.testing"]`, or `start_server()` without pytest.

The server is, in this order: the one that `TASK_TEST_BROKER_URL` names; an installed one, started privately; the
distribution's packages, unpacked into a cache folder (Debian, Ubuntu); a container. Where none is available, tests
fail; they never skip. No other server is ever touched, and `TASK_BROKER_URL` is not read.

PYTEST_DONT_REWRITE: nothing here asserts, and pytest warns of a plugin that a conftest has imported before.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from uuid import uuid4

import pytest

from task_bus.testing._binaries import find_installed
from task_bus.testing._debian import unpack
from task_bus.testing._docker import DockerRabbit, has_engine
from task_bus.testing._given import GIVEN_QUEUES, GivenRabbit, clean
from task_bus.testing._private import PrivateRabbit
from task_bus.testing._server import NoServerError, RabbitServer, VirtualHosts

__all__ = [
    "GIVEN_QUEUES",
    "DockerRabbit",
    "GivenRabbit",
    "NoServerError",
    "PrivateRabbit",
    "RabbitServer",
    "VirtualHosts",
    "broker_url",
    "rabbitmq_server",
    "rabbitmq_vhosts",
    "start_server",
]

BROKER_URL_VARIABLE = "TASK_TEST_BROKER_URL"
MANAGEMENT_URL_VARIABLE = "TASK_TEST_BROKER_MANAGEMENT_URL"

_ADVICE = (
    "no RabbitMQ for the tests: install the package rabbitmq-server (it need not run), or start Docker, "
    f"or set {BROKER_URL_VARIABLE} to a broker that tests may use"
)


def start_server(say: Callable[[str], None] | None = None) -> RabbitServer:
    """Start a private server and return it; the caller must `close` it. Blocks for some 6 s.

    `say` is called with a line of text when something is downloaded; by default that is printed to stderr.

    Raises:
        NoServerError: none is available; the text says what to do.

    """
    say = say or (lambda text: print(text, file=sys.stderr))  # noqa: T201 # for a person at a terminal
    server = _find_server(say)
    try:
        server.start()
    except BaseException:
        server.close()
        raise
    return server


def _find_server(say: Callable[[str], None]) -> RabbitServer:
    trouble = ""
    try:
        if (binaries := find_installed() or unpack(say)) is not None:
            return PrivateRabbit(binaries)
    except (NoServerError, OSError, subprocess.SubprocessError) as error:
        trouble = f" (unpacking one failed: {error})"
    if has_engine():
        return DockerRabbit()
    raise NoServerError(_ADVICE + trouble)


@pytest.fixture(scope="session")
def rabbitmq_server(request: pytest.FixtureRequest) -> Iterator[RabbitServer]:
    """Give a private server. A test may stop, freeze or kill it, and must leave it running."""
    reporter = request.config.pluginmanager.get_plugin("terminalreporter")
    try:
        server = start_server(reporter.write_line if reporter is not None else None)
    except NoServerError as error:
        pytest.fail(str(error), pytrace=False)
    yield server
    server.close()


@pytest.fixture(scope="session")
def rabbitmq_vhosts(request: pytest.FixtureRequest) -> VirtualHosts:
    """Give a broker on which virtual hosts can be created: one named with its management API, else a private one."""
    given, management = os.environ.get(BROKER_URL_VARIABLE), os.environ.get(MANAGEMENT_URL_VARIABLE)
    if given and management:
        return GivenRabbit(given, management)
    server: RabbitServer = request.getfixturevalue("rabbitmq_server")
    return server


@pytest.fixture
def broker_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Give the URL of an empty virtual host, deleted after the test.

    On a broker that `TASK_TEST_BROKER_URL` names without its management API, no virtual host can be created. There it
    gives that URL as it is, after deleting our exchanges and the broker queues of `GIVEN_QUEUES`.
    """
    given = os.environ.get(BROKER_URL_VARIABLE)
    if given and not os.environ.get(MANAGEMENT_URL_VARIABLE):
        clean(given)
        yield given
        return
    server: VirtualHosts = request.getfixturevalue("rabbitmq_vhosts")
    vhost = f"test-{uuid4()}"
    server.add_vhost(vhost)
    yield server.url(vhost)
    server.delete_vhost(vhost)
