from __future__ import annotations

import os
from ipaddress import ip_address
from pathlib import Path

import pytest

from task_contracts import Priority
from task_runtime import read_settings
from task_worker.settings import WorkerSettings, usable_cores

REQUIRED = {"TASK_DATABASE_URL": "postgresql://u:secret@db/tasks", "TASK_BROKER_URL": "amqp://u:secret@mq/"}


@pytest.fixture(autouse=True)
def required(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in REQUIRED.items():
        monkeypatch.setenv(name, value)


def test_everything_else_has_a_default() -> None:
    settings = read_settings(WorkerSettings)

    assert settings.serves == ("default",)
    assert settings.priority_weights == {Priority.HIGH: 6, Priority.MEDIUM: 3, Priority.LOW: 1}
    assert (settings.concurrency, settings.lease_seconds, settings.drain_seconds) == (50, 30, 30)
    assert (settings.timeout_seconds, settings.max_attempts, settings.retention_days) == (600, 3, 30)


@pytest.mark.parametrize(
    ("quota", "cores"),
    [("max 100000", 8), ("150000 100000", 2), ("50000 100000", 1), ("10000000 100000", 8), (None, 8)],
)
def test_as_many_handler_processes_as_cores_that_the_machine_and_the_container_allow(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, quota: str | None, cores: int
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    if quota is not None:
        (tmp_path / "cpu.max").write_text(f"{quota}\n")

    assert usable_cores(tmp_path / "cpu.max") == cores
    assert read_settings(WorkerSettings).handler_processes == usable_cores()


def test_weights_are_read_from_high_to_low(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASK_WORKER_PRIORITY_WEIGHTS", " 10:5 :1")

    settings = read_settings(WorkerSettings)

    assert settings.priority_weights == {Priority.HIGH: 10, Priority.MEDIUM: 5, Priority.LOW: 1}
    assert list(settings.priority_weights) == [Priority.HIGH, Priority.MEDIUM, Priority.LOW]


def test_a_worker_serves_the_queues_of_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASK_QUEUES", "default,reports,mails")
    assert read_settings(WorkerSettings).serves == ("default", "reports", "mails")

    monkeypatch.setenv("TASK_WORKER_QUEUES", "mails, reports")
    assert read_settings(WorkerSettings).serves == ("mails", "reports")


@pytest.mark.parametrize("value", ["", "  "])
def test_no_hosts_and_an_empty_list_of_them_are_the_same(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    assert read_settings(WorkerSettings).http_hosts is None

    monkeypatch.setenv("TASK_WORKER_HTTP_HOSTS", value)

    assert read_settings(WorkerSettings).http_hosts is None


def test_hosts_are_read_with_their_ports_and_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASK_WORKER_HTTP_HOSTS", "api.internal:8443, 10.0.0.0/8")

    hosts = read_settings(WorkerSettings).http_hosts

    assert hosts is not None
    assert hosts.lists("api.internal", 8443)
    assert hosts.allows_address(ip_address("10.1.2.3"), 8443)


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("PRIORITY_WEIGHTS", "6:3", "must be three numbers for HIGH:MEDIUM:LOW, such as 6:3:1"),
        ("PRIORITY_WEIGHTS", "6:3:x", "must be three numbers for HIGH:MEDIUM:LOW, such as 6:3:1"),
        ("PRIORITY_WEIGHTS", "6:3:-1", "must be three numbers for HIGH:MEDIUM:LOW, such as 6:3:1"),
        ("PRIORITY_WEIGHTS", "6:3:0", "must hold a weight of 1 to 1000 for each of HIGH:MEDIUM:LOW, such as 6:3:1"),
        ("PRIORITY_WEIGHTS", "6:3:1001", "must hold a weight of 1 to 1000 for each of HIGH:MEDIUM:LOW, such as 6:3:1"),
        ("CONCURRENCY", "0", "input should be greater than or equal to 1"),
        ("CONCURRENCY", "many", "input should be a valid integer, unable to parse string as an integer"),
        ("HANDLER_PROCESSES", "0", "input should be greater than or equal to 1"),
        ("TASKS_PER_HANDLER_PROCESS", "0", "input should be greater than or equal to 1"),
        ("LEASE_SECONDS", "0.5", "input should be greater than or equal to 1"),
        ("DRAIN_SECONDS", "-1", "input should be greater than or equal to 0"),
        ("DRAIN_SECONDS", "nan", "input should be less than or equal to 86400"),
        ("TIMEOUT_SECONDS", "1e9", "input should be less than or equal to 604800"),
        ("MAX_ATTEMPTS", "26", "input should be less than or equal to 25"),
        ("RETENTION_DAYS", "-1", "input should be greater than or equal to 0"),
        (
            "HTTP_HOSTS",
            "api.example.org, https://user:secret@api.example.org",
            (
                "entry 2 must be a host (api.example.org, *.example.org, 10.0.0.5; with a :port or without) "
                "or a network (10.0.0.0/8)"
            ),
        ),
        ("HTTP_HOSTS", "10.0.0.0/8", "names no host: a network only says where the hosts that are listed may lead"),
        ("API_URL", "127.0.0.1:9000", "string should match pattern '^https?://'"),
    ],
)
def test_what_is_wrong_is_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str, line: str
) -> None:
    monkeypatch.setenv(f"TASK_WORKER_{name}", value)

    with pytest.raises(SystemExit) as caught:
        read_settings(WorkerSettings)

    assert caught.value.code == 2
    assert capsys.readouterr().err == f"error: TASK_WORKER_{name}: {line}\n"


def test_wrong_queue_names_are_an_error_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TASK_WORKER_QUEUES", "Reports")

    with pytest.raises(SystemExit):
        read_settings(WorkerSettings)

    assert "error: TASK_WORKER_QUEUES: string should match pattern" in capsys.readouterr().err


def test_a_queue_that_does_not_exist_cannot_be_served(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TASK_QUEUES", "default")
    monkeypatch.setenv("TASK_WORKER_QUEUES", "default,reports,mails")

    with pytest.raises(SystemExit):
        read_settings(WorkerSettings)

    assert (
        capsys.readouterr().err == "error: these queues of TASK_WORKER_QUEUES are not in TASK_QUEUES: mails, reports\n"
    )


def test_what_a_worker_serves_does_not_say_which_queues_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASK_WORKER_QUEUES", "reports")

    with pytest.raises(SystemExit):
        read_settings(WorkerSettings)


def test_one_of_several_processes_has_a_metrics_port_and_an_alive_file_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TASK_WORKER_PROCESSES", "3")
    monkeypatch.setenv("TASK_METRICS_PORT", "9100")
    monkeypatch.setenv("TASK_WORKER_ALIVE_FILE", "/dev/shm/worker.alive")

    third = read_settings(WorkerSettings).of_process(3)

    assert (third.metrics_port, third.alive_file) == (9103, Path("/dev/shm/worker.alive.3"))


@pytest.mark.parametrize("port", [None, 0])
def test_without_a_port_or_with_a_free_one_there_is_nothing_to_add_to(port: int | None) -> None:
    settings = read_settings(WorkerSettings, processes=3, metrics_port=port)

    assert settings.of_process(3) == settings


def test_a_port_for_each_process_must_exist(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_settings(WorkerSettings, processes=3, metrics_port=65_533)

    assert "the ports of TASK_METRICS_PORT and TASK_WORKER_PROCESSES go beyond 65535" in capsys.readouterr().err
    assert read_settings(WorkerSettings, processes=2, metrics_port=65_533).of_process(2).metrics_port == 65_535
