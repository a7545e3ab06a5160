"""examples/own-worker: its image on the worker's runtime image, its tests in there, its tasks on a stack that runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.compose import Compose, docker, is_ready, removing_images
from harness.waiting import until
from task_client import TaskClient
from task_contracts import TaskCreate, TaskStatus

WORKER, TESTS, OWN = "task-worker:test", "own-worker-tests:test", "own-worker:test"
CSV = "number,customer,quantity,price\nA1,42,2,9.90\nA2,42,none,1\nA3,43,1,5"


@pytest.fixture(scope="module")
def image(checkout: Path) -> Iterator[str]:
    """The example's image, built as its README says."""
    project, base = str(checkout / "examples" / "own-worker"), ["--build-arg", f"TASK_WORKER_IMAGE={WORKER}"]
    runtime = ["-f", str(checkout / "services" / "worker" / "Dockerfile"), "--target", "runtime"]
    with removing_images(WORKER, TESTS, OWN):
        docker("build", *runtime, "-t", WORKER, str(checkout))
        docker("build", *base, "--target", "tests", "-t", TESTS, project)
        docker("build", *base, "-t", OWN, project)
        yield OWN


@pytest.fixture(scope="module")
def client(open_stack: Callable[..., Iterator[Compose]], image: str) -> Iterator[TaskClient]:
    """A client of the development stack, without its own worker and with one of the example's."""
    for stack in open_stack():
        stack("up", "-d", "--build", "api")
        settings = {
            "TASK_DATABASE_URL": "postgresql://tasks:tasks@db:5432/tasks",
            "TASK_BROKER_URL": "amqp://tasks:tasks@rabbitmq:5672/",
            "TASK_WORKER_API_URL": "http://api:9000",
        }
        given = [word for name, value in settings.items() for word in ("-e", f"{name}={value}")]
        (api,) = stack.containers("api")
        until(lambda api=api, stack=stack: stack.health(api) == "healthy", "the schema is there", seconds=120)
        worker = docker("run", "-d", "--network", f"{stack.name}_default", *given, image).strip()
        try:
            with TaskClient(stack.url) as client:
                until(lambda client=client: is_ready(client), "the example's worker lives", seconds=120)
                yield client
            docker("stop", worker)
            assert stack.inspect(worker)["State"]["ExitCode"] == 0
        finally:
            docker("rm", "-f", worker)


def test_an_async_handler_hands_work_on_to_a_plain_one(client: TaskClient) -> None:
    payload = {"rows_per_part": 2, "csv": CSV}
    task = client.create(TaskCreate(name="october", type="orders.split", payload=payload, labels={"month": "10"}))
    split = client.wait(task.id, 60)
    parts = [client.wait(part, 60) for part in split.result]

    assert split.progress is not None
    assert split.progress.percent == 100
    assert [part.type for part in parts] == ["orders.import"] * 2
    assert [part.result["stored"] for part in parts] == [1, 1]
    assert "quantity" in parts[0].result["rejected"][0]


def test_a_handler_in_a_process_computes(client: TaskClient) -> None:
    payload = {"daily": [3, 5, 2, 8, 4, 4, 9], "days": 30, "seed": 1}
    task = client.create(TaskCreate(name="winter", type="demand.forecast", payload=payload))
    forecast = client.wait(task.id, 60)

    assert forecast.status is TaskStatus.COMPLETED
    assert 140 < forecast.result["mean"] < forecast.result["enough"] < 200
