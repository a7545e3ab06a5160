"""What the dashboard and the alerts of deploy/ name is there: among the names, in a live scrape, in the runbook."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from harness.pages import DOCS
from harness.processes import Process
from harness.waiting import eventually
from harness.world import World
from task_runtime.metrics import names
from task_store.testing import PrivatePostgres

DEPLOY = DOCS.parent / "deploy"
RULES = DEPLOY / "prometheus" / "task-service.rules.yml"
_NAME = re.compile(r"\btask_service_\w+")


def _named() -> set[str]:
    dashboard = json.loads((DEPLOY / "grafana" / "task-service.json").read_text(encoding="utf-8"))
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    alerts = re.sub(r"^ *(#|summary:|- name:).*$", "", RULES.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return set(_NAME.findall("\n".join([*queries, alerts])))


def _anchors(page: str) -> Iterator[str]:
    for heading in re.findall(r"^#+ (.+)$", page, re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_every_metric_of_the_dashboard_and_the_alerts_has_its_name() -> None:
    named = _named()

    assert len(named) > 15
    assert named <= names.sample_names()


def test_every_alert_names_its_section_of_the_runbook() -> None:
    rules = RULES.read_text(encoding="utf-8")
    sections = re.findall(r"runbook: docs/runbook\.md#(\S+)", rules)

    assert len(sections) == len(re.findall(r"- alert:", rules))
    assert set(sections) <= set(_anchors((DOCS / "runbook.md").read_text(encoding="utf-8")))


def test_the_alert_on_leases_holds_for_a_lease_of_any_length() -> None:
    (rule,) = re.findall(r"alert: TaskServiceLeaseShort\n(?: +#.*\n)* +expr: (.*)\n", RULES.read_text(encoding="utf-8"))

    assert rule == "task_service_lease_remaining_seconds < 0.5 * task_service_lease_seconds"


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_takes_the_rules() -> None:
    subprocess.run(["promtool", "check", "rules", str(RULES)], check=True)


async def _scrape(process: Process) -> dict[str, float]:
    url = (await process.logged("metrics_listening"))["url"]
    async with httpx2.AsyncClient() as client:
        text = (await client.get(url, timeout=1.0)).text
    lines = [line.rpartition(" ") for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _, value in lines}


def _names(*scrapes: dict[str, Any]) -> set[str]:
    return {series.partition("{")[0] for scrape in scrapes for series in scrape}


async def test_after_a_mixed_load_every_metric_that_is_named_is_in_a_scrape(world: World) -> None:
    api = await world.api(TASK_METRICS_PORT="0")
    worker = await world.worker(TASK_METRICS_PORT="0")
    await api.create_all([{"payload": {"n": n}} for n in range(20)])
    await api.create_all([{"type": f"no-worker-offers-{n}", "priority": "LOW"} for n in range(20)])
    await api.create_all([{"type": "fails", "max_attempts": 1}])

    async def is_whole() -> bool:
        shown = _names(await _scrape(api.process), await _scrape(worker))
        return _named() <= shown and shown == names.sample_names()

    await eventually(is_whole, "both processes show all that is named")
    accepted = [series for series in await _scrape(api.process) if series.startswith("task_service_accepted_total")]
    assert 'task_service_accepted_total{priority="LOW",queue="default",type="other"}' in accepted
    assert not [series for series in accepted if "no-worker-offers" in series]


async def test_a_service_shows_api_and_worker_in_one_scrape(tmp_path: Path) -> None:
    async with World.embedded(tmp_path) as world:
        api = await world.service(TASK_METRICS_PORT="0")
        await api.all_complete(await api.create_all([{"payload": {"n": n}} for n in range(5)]))

        shown = await _scrape(api.process)

        assert sum(value for name, value in shown.items() if name.startswith("task_service_accepted_total")) == 5
        assert sum(value for name, value in shown.items() if name.startswith("task_service_finished_total")) == 5
        assert shown["task_service_database_up"] == 1

        (waiting,) = await api.create_all([{"type": "no-worker-offers-it"}])
        (await api.http.delete(f"/api/v1/tasks/{waiting}")).raise_for_status()
        shown = await _scrape(api.process)
        kind = 'priority="MEDIUM",queue="default",status="CANCELLED",type="other"'
        assert shown[f"task_service_finished_total{{{kind}}}"] == 1


@pytest.mark.private_servers
async def test_with_the_database_frozen_a_scrape_is_answered_at_once_and_says_so(
    breakable_postgres: PrivatePostgres, broker_url: str, tmp_path: Path
) -> None:
    async with World(breakable_postgres.url(), broker_url, tmp_path) as world:
        api, worker = await world.api(TASK_METRICS_PORT="0"), await world.worker(TASK_METRICS_PORT="0")

        async def is_lease_short() -> bool:
            shown = await _scrape(worker)
            return shown["task_service_lease_remaining_seconds"] < 0.5 * shown["task_service_lease_seconds"]

        assert not await is_lease_short()
        breakable_postgres.pause()

        async def both_say_so() -> bool:  # each scrape has a second, by its timeout
            shown = [await _scrape(api.process), await _scrape(worker)]
            return all(one["task_service_database_up"] == 0 for one in shown)

        await eventually(both_say_so, "both processes say that the database is away")
        await eventually(is_lease_short, "the lease is short, as its alert says")
        breakable_postgres.resume()
