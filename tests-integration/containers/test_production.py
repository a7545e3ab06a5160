"""deploy/compose.production.yml: nothing but the services, each with no more rights than it needs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from harness.compose import Compose, docker, is_ready, removing_images, run
from harness.waiting import until
from task_client import NotFoundError, Scope, TaskClient, UnauthenticatedError, ValidationFailedError
from task_contracts import TaskCreate, TaskStatus

FILES = ("deploy/compose.production.yml", "deploy/compose.build.yml")
SERVICES = ("api", "worker")


@pytest.fixture(scope="module")
def stack(open_stack: Callable[..., Iterator[Compose]]) -> Iterator[Compose]:
    """The production stack, up."""
    images = {"TASK_API_IMAGE": "task-api:test", "TASK_WORKER_IMAGE": "task-worker:test"}
    with removing_images(*images.values()):
        for stack in open_stack(*FILES, **images):
            run([sys.executable, "deploy/make-secrets.py"], cwd=stack.folder)
            stack("up", "-d", "--build")
            yield stack


@pytest.fixture(scope="module")
def client(stack: Compose) -> Iterator[TaskClient]:
    key = (stack.folder / "deploy" / "secrets" / "operator_api_key").read_text()
    with TaskClient(stack.url, api_key=key) as client:
        until(lambda: is_ready(client), "the API is ready and a worker lives", seconds=60)
        yield client


def sql(stack: Compose, role: str, statement: str, *, database: str = "tasks") -> str:
    """Run a statement as one of the roles, and return what psql says."""
    password = (stack.folder / "deploy" / "secrets" / f"{role}_password").read_text()
    (db,) = stack.containers("db")
    words = f"psql -h 127.0.0.1 -U {role} -d {database} -Atc {json.dumps(statement)}"
    shell = f"PGPASSWORD={password} {words} 2>&1 || true"
    return docker("exec", db, "sh", "-c", shell)


def test_tasks_run_and_name_their_type(client: TaskClient) -> None:
    task = client.create(TaskCreate(name="say hello", type="echo", payload={"text": "hello"}))
    ended = client.wait(task.id, 60)

    assert (ended.status, ended.result) == (TaskStatus.COMPLETED, {"text": "hello"})
    with pytest.raises(ValidationFailedError, match=r"body\.type"):
        client.create(TaskCreate(name="no type"))


def test_who_has_no_key_gets_nothing_and_the_operators_may_do_everything(stack: Compose, client: TaskClient) -> None:
    with TaskClient(stack.url) as nobody, pytest.raises(UnauthenticatedError):
        nobody.create(TaskCreate(name="say hello", type="echo"))

    scopes_by_owner = {key.owner: set(key.scopes) for key in client.list_keys()}
    assert scopes_by_owner["operator"] == {*Scope}
    assert scopes_by_owner["worker"] == {Scope.TASKS_READ, Scope.TASKS_WRITE}


def test_a_cancel_and_a_purge_are_within_the_rights(stack: Compose, client: TaskClient) -> None:
    task = client.create(TaskCreate(name="later", type="echo", run_at=datetime.now(UTC) + timedelta(days=1)))

    assert client.cancel(task.id).status is TaskStatus.CANCELLED
    assert sql(stack, "task_worker", f"DELETE FROM tasks WHERE id = '{task.id}' RETURNING 1").split()[0] == "1"


def test_task_producer_creates_a_task_that_runs_and_sees_none(stack: Compose, client: TaskClient) -> None:
    create = "SELECT create_task(json_build_object('name', 'in SQL', 'type', 'echo'))"

    created = sql(stack, "postgres", f"SET ROLE task_producer; {create}").split()[-1]

    assert client.wait(UUID(created), 60).status is TaskStatus.COMPLETED
    assert "permission denied" in sql(stack, "postgres", "SET ROLE task_producer; SELECT FROM tasks")
    assert "permission denied" in sql(stack, "task_worker", create)


def test_passwords_can_be_changed(stack: Compose, client: TaskClient) -> None:
    secrets = stack.folder / "deploy" / "secrets"
    old = (secrets / "task_api_password").read_text()
    for file in [*secrets.glob("task_*"), secrets / "rabbitmq_definitions.json"]:
        file.unlink()
    run([sys.executable, "deploy/make-secrets.py"], cwd=stack.folder)
    stack("up", "-d", "--force-recreate")

    until(lambda: is_ready(client), "it is back", seconds=120)
    assert (secrets / "task_api_password").read_text() != old
    assert client.wait(client.create(TaskCreate(name="say hello", type="echo")).id, 60).status is TaskStatus.COMPLETED


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_no_root_writes_nothing_and_is_healthy(stack: Compose, client: TaskClient, service: str) -> None:
    (container,) = stack.containers(service)
    until(lambda: stack.health(container) == "healthy", f"{service} is healthy", seconds=90)
    found = stack.inspect(container)

    assert docker("exec", container, "id", "-u").strip() == "10001"
    assert found["HostConfig"]["ReadonlyRootfs"]
    assert found["HostConfig"]["CapDrop"] == ["ALL"]
    assert found["HostConfig"]["Memory"] > 0
    assert found["HostConfig"]["PidsLimit"] > 0
    assert found["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"  # also after exit code 0
    tools = docker("exec", container, "sh", "-c", "ls /opt/task/bin")
    assert not {"uv", "pip", "pytest"} & set(tools.split())
    environment = "\n".join(found["Config"]["Env"])
    assert "amqp://" not in environment
    assert "postgresql://" not in environment


def test_only_the_api_is_published(stack: Compose) -> None:
    published = {
        service: stack.inspect(one)["HostConfig"]["PortBindings"]
        for service in ("db", "rabbitmq", "api", "worker")
        for one in stack.containers(service)
    }

    assert {service for service, ports in published.items() if ports} == {"api"}
    assert published["api"] == {"9000/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(stack.port)}]}


def test_data_are_kept_in_volumes_with_a_name_alone(stack: Compose, client: TaskClient) -> None:
    mounts = [mount for container in stack("ps", "-aq").split() for mount in stack.inspect(container)["Mounts"]]

    kept = {mount["Name"] for mount in mounts if mount["Type"] == "volume"}
    assert kept == {f"{stack.name}_db", f"{stack.name}_rabbitmq"}


@pytest.mark.parametrize(
    ("role", "statement"),
    [
        ("task_api", "DELETE FROM tasks"),
        ("task_api", "UPDATE workers SET dead_at = now()"),
        ("task_api", "DROP TABLE tasks"),
        ("task_worker", "INSERT INTO tasks DEFAULT VALUES"),
        ("task_worker", "UPDATE alembic_version SET version_num = '0'"),
        ("task_worker", "CREATE TABLE mine (id int)"),
        ("task_worker", "TRUNCATE tasks CASCADE"),
    ],
)
def test_a_role_may_do_no_more_than_its_service_needs(
    stack: Compose, client: TaskClient, role: str, statement: str
) -> None:
    client.create(TaskCreate(name="to be read", type="echo"))
    said = sql(stack, role, statement)

    assert "permission denied" in said or "must be owner" in said
    assert sql(stack, role, "SELECT count(*) > 0 FROM tasks").strip() == "t"


@pytest.mark.parametrize("role", ["task_migrator", "task_api", "task_worker"])
def test_a_role_connects_to_no_other_database(stack: Compose, client: TaskClient, role: str) -> None:
    for database in ("postgres", "template1"):
        assert "permission denied for database" in sql(stack, role, "SELECT 1", database=database)


def test_a_user_of_the_broker_sees_no_more_than_it_needs(stack: Compose, client: TaskClient) -> None:
    (rabbitmq,) = stack.containers("rabbitmq")
    users = docker("exec", rabbitmq, "rabbitmqctl", "-q", "list_permissions", "--formatter", "json")

    rights = {one["user"]: one for one in json.loads(users)}
    assert set(rights) == {"task_api", "task_worker"}
    assert (rights["task_api"]["configure"], rights["task_api"]["write"], rights["task_api"]["read"]) == (
        "^signals$",
        "^signals$",
        "^$",
    )
    assert "refused for user" not in docker("logs", rabbitmq), "a service asked for more than it may"


def test_a_backup_is_made_and_restored_as_the_page_says(stack: Compose, client: TaskClient) -> None:
    page = (stack.folder / "docs" / "backup.md").read_text()
    block = page.partition("**With `deploy/compose.production.yml`**")[2].split("```")[1]
    dump, stop, create, restore, start = [
        line.removeprefix("$ ") for line in block.replace("\\\n", "").splitlines() if line.startswith("$ ")
    ]
    kept = client.create(TaskCreate(name="in the dump", type="echo"))
    client.wait(kept.id, 60)
    stack.shell(dump)
    lost = client.create(TaskCreate(name="after the dump", type="echo"))
    client.wait(lost.id, 60)

    whole = (stack.folder / "tasks.dump").read_bytes()
    (stack.folder / "tasks.dump").write_bytes(whole[: len(whole) // 2])
    stack.shell(stop)
    stack.shell(create)
    with pytest.raises(AssertionError, match="pg_restore: error"):
        stack.shell(restore)
    stack("exec", "-T", "db", "dropdb", "-U", "postgres", "restored")
    stack.shell(start)
    until(lambda: is_ready(client), "it is back", seconds=120)
    assert client.get(lost.id).status is TaskStatus.COMPLETED

    (stack.folder / "tasks.dump").write_bytes(whole)
    for line in (stop, create, restore, start):
        stack.shell(line)
    until(lambda: is_ready(client), "it is back", seconds=120)
    assert client.get(kept.id).status is TaskStatus.COMPLETED
    with pytest.raises(NotFoundError):
        client.get(lost.id)
    assert client.wait(client.create(TaskCreate(name="goes on", type="echo")).id, 60).status is TaskStatus.COMPLETED
    stack("exec", "-T", "db", "dropdb", "-U", "postgres", "replaced")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_stops_in_an_orderly_way_and_comes_back(stack: Compose, client: TaskClient, service: str) -> None:
    (container,) = stack.containers(service)
    docker("stop", container)

    assert stack.inspect(container)["State"]["ExitCode"] == 0
    stack("up", "-d")
    (back,) = stack.containers(service)  # it may be another one
    until(lambda: stack.health(back) == "healthy", "it is back", seconds=90)


def test_the_whole_can_be_brought_up_again_over_its_data(stack: Compose, client: TaskClient) -> None:
    stack("down")
    stack("up", "-d")

    until(lambda: is_ready(client), "it is back", seconds=120)
    assert client.page(status=TaskStatus.COMPLETED).items
