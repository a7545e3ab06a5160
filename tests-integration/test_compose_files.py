"""The compose files: every container is bounded, by what docs/sizing.md says that it needs."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from harness.compose import ROOT
from harness.pages import Page
from task_contracts import Scope

PRODUCTION, DEVELOPMENT = "deploy/compose.production.yml", "docker-compose.yml"
FILES = (PRODUCTION, DEVELOPMENT)
SIZING = Page.read("sizing.md")
BYTES_BY_UNIT = {"m": 1 << 20, "g": 1 << 30, "MiB": 1 << 20, "GiB": 1 << 30}


def services(file: str) -> dict[str, dict[str, Any]]:
    """Return the services of a compose file by their names."""
    found: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / file).read_text())["services"]
    return found


def size(text: str) -> float:
    """Return the bytes of `512m` or of `1.5 GiB`."""
    number, unit = re.fullmatch(r"([\d.]+) ?(\w+)", text).groups()  # type: ignore[union-attr] # else the test fails
    return float(number) * BYTES_BY_UNIT[unit]


def on_page(file: str) -> dict[str, tuple[float, int]]:
    """Return what the page says of each container of a file: its memory in bytes, its processes and threads."""
    return {
        name: (size(row[f"memory, {file}"]), int(row[f"processes, {file}"].replace(",", "")))
        for row in SIZING.rows(first="container")
        for name in re.findall(r"`(\w+)`", row["container"])
        if row[f"memory, {file}"] != "–"
    }


@pytest.mark.parametrize("file", FILES)
def test_every_container_is_bounded_in_memory_and_processes_as_the_page_says(file: str) -> None:
    bounds = {name: (size(str(one["mem_limit"])), one["pids_limit"]) for name, one in services(file).items()}

    assert bounds == on_page(file)


@pytest.mark.parametrize("file", FILES)
def test_rabbitmq_has_the_memory_that_its_log_needs(file: str) -> None:
    unset, limited = SIZING.rows(first="`raft.wal_max_size_bytes` in `rabbitmq.conf`")
    row = limited if file == PRODUCTION else unset  # deploy/rabbitmq/rabbitmq.conf sets it
    needed = re.match(r"[\d.]+ \w+", row["give it"])

    assert needed is not None
    assert on_page(file)["rabbitmq"][0] >= size(needed[0])


@pytest.mark.parametrize("file", FILES)
def test_the_api_is_given_the_names_that_it_may_be_called_by(file: str) -> None:
    assert services(file)["api"]["environment"]["TASK_API_ALLOWED_HOSTS"] == "${TASK_API_ALLOWED_HOSTS:-}"


def test_only_the_api_that_nobody_else_reaches_asks_for_no_keys() -> None:
    open_to_all = services(DEVELOPMENT)["api"]

    assert services(PRODUCTION)["api"]["environment"]["TASK_API_AUTH"] == "keys"
    assert open_to_all["environment"]["TASK_API_AUTH"] == "off"
    assert all(port.startswith("${TASK_BIND:-127.0.0.1}:") for port in open_to_all["ports"])


def test_both_keys_are_stored_before_anything_asks_for_them_and_each_gets_its_own() -> None:
    production = services(PRODUCTION)
    (script,) = [part for part in production["keys"]["command"] if "task-api" in part]
    scopes_by_file = {
        file: set(re.findall(r"--scope (\S+)", line))
        for line in script.replace("\\\n", " ").splitlines()
        for file in re.findall(r"--key-file /run/secrets/(\S+)", line)
    }

    assert scopes_by_file == {
        "operator_api_key": {*Scope},
        "task_worker_api_key": {Scope.TASKS_WRITE, Scope.TASKS_READ},
    }
    assert scopes_by_file.keys() <= {one for one in production["keys"]["secrets"] if isinstance(one, str)}
    for name in ("api", "worker"):
        assert production[name]["depends_on"]["keys"] == {"condition": "service_completed_successfully"}
    assert {"source": "task_worker_api_key", "target": "TASK_WORKER_API_KEY"} in production["worker"]["secrets"]
    assert [name for name, one in production.items() if "operator_api_key" in str(one.get("secrets"))] == ["keys"]


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("name", ["api", "worker"])
def test_metrics_and_traces_are_off_until_they_are_asked_for_and_are_not_published(file: str, name: str) -> None:
    service = services(file)[name]

    assert service["environment"]["TASK_METRICS_PORT"] == "${TASK_METRICS_PORT:-}"
    assert service["environment"]["TASK_METRICS_HOST"] == "0.0.0.0"  # of the container
    assert service["environment"]["OTEL_EXPORTER_OTLP_ENDPOINT"] == "${OTEL_EXPORTER_OTLP_ENDPOINT:-}"
    assert not [port for port in service.get("ports", []) if "METRICS" in port]


@pytest.mark.parametrize("name", ["api", "worker"])
def test_the_images_have_what_traces_need(name: str) -> None:
    syncs = re.findall(r"uv sync .*", (ROOT / "services" / name / "Dockerfile").read_text())

    assert [sync for sync in syncs if "--package" in sync]
    assert all("--extra otel" in sync for sync in syncs if "--package" in sync)


@pytest.mark.parametrize("file", FILES)
def test_the_health_checks_of_our_services_are_those_of_their_images(file: str) -> None:
    assert not [name for name in ("api", "worker") if "healthcheck" in services(file)[name]]


@pytest.mark.parametrize("service", ["api", "worker"])
def test_both_targets_of_an_image_have_its_health_check(service: str) -> None:
    base = (ROOT / "services" / service / "Dockerfile").read_text().partition("FROM base AS locked")[0]

    assert base.count("\nHEALTHCHECK ") == 1
