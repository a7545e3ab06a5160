"""Real servers for the system's tests, a world for each of them, and the logs of its processes where it fails.

Servers are our own, or those that TASK_TEST_DATABASE_URL and TASK_TEST_BROKER_URL name; tests that stop, freeze or
kill one always have one of their own. TASK_DATABASE_URL and TASK_BROKER_URL are not read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from itertools import chain
from pathlib import Path
from uuid import uuid4

import pytest

from harness.processes import Processes
from harness.servers import Broker
from harness.world import World
from task_bus.testing import RabbitServer
from task_migrations import upgrade
from task_store.testing import PrivatePostgres, server_majors

pytest_plugins = ["task_store.testing", "task_bus.testing"]

BEGUN_FIRST = {
    "test_backup.py",
    "test_broker_trouble.py",
    "test_earlier_version.py",
    "test_first_day.py",
    "test_p8_conformance.py",
    "test_workload.py",
}
"""The longest. Where files run beside one another, what is begun last is what everybody waits for in the end."""

_FIGURE = "figure"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "every_postgres: run on each major version of PostgreSQL that is here")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.path.name not in BEGUN_FIRST)  # stable: all else stays in its order


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if metafunc.definition.get_closest_marker("every_postgres"):
        metafunc.parametrize("postgres_server", server_majors(), indirect=True, scope="session")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    started = [part for part in getattr(item, "funcargs", {}).values() if isinstance(part, World | Processes)]
    for processes in started if report.failed else []:
        for process in (processes.processes if isinstance(processes, World) else processes).all:
            report.sections.append((f"{process.name} (exit code {process.exit_code})", process.tail()))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if figures := list(_figures(terminalreporter)):
        terminalreporter.section("figures")
        for line in figures:
            terminalreporter.write_line(line)


def _figures(terminalreporter: pytest.TerminalReporter) -> Iterator[str]:
    """Yield what tests have said: reports carry it to here from wherever they ran."""
    for report in chain.from_iterable(terminalreporter.stats.values()):
        # The report of each phase has all that was said so far.
        if isinstance(report, pytest.TestReport) and report.when == "teardown":
            yield from (str(line) for name, line in report.user_properties if name == _FIGURE)


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Give what shows a measured figure at the end of the run."""
    return lambda line: request.node.user_properties.append((_FIGURE, f"{request.node.name}: {line}"))


@pytest.fixture(scope="session")
def prepare_database() -> Callable[[str], object]:
    """Give what migrates the template of all databases."""
    return upgrade


@pytest.fixture
def tmp_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of the test's own, with a path short enough for the socket of a database far below it."""
    return tmp_path_factory.mktemp("t")


@pytest.fixture
async def world(database_url: str, broker_url: str, tmp_path: Path) -> AsyncIterator[World]:
    """A migrated database and an empty broker, and nothing running yet."""
    async with World(database_url, broker_url, tmp_path) as world:
        yield world


@pytest.fixture
async def breakable_postgres() -> AsyncIterator[PrivatePostgres]:
    """A running PostgreSQL of this test alone, with the schema."""
    async with PrivatePostgres() as postgres:
        await upgrade(postgres.url())
        yield postgres


@pytest.fixture
async def breakable_broker(rabbitmq_server: RabbitServer) -> AsyncIterator[Broker]:
    """A running RabbitMQ that this test may break; nobody else uses it meanwhile."""
    broker = Broker(rabbitmq_server, f"test-{uuid4()}")
    await asyncio.to_thread(rabbitmq_server.add_vhost, broker.vhost)
    yield broker
    await broker.mend()
    await asyncio.to_thread(rabbitmq_server.delete_vhost, broker.vhost)
