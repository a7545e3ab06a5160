"""docs/settings.md lists every setting with its default."""

from __future__ import annotations

import pytest

from harness.pages import Page, quoted
from task_api.settings import ApiSettings
from task_runtime import ProcessSettings, variable_names
from task_worker.settings import WorkerSettings

ROWS = Page.read("settings.md").rows(first="variable")
DEFAULT_BY_VARIABLE = {
    quoted(row["variable"]): quoted(row["default"]) for row in ROWS if row["default"].startswith("`")
}
URLS = {"database_url": "postgresql://db/tasks", "broker_url": "amqp://mq/"}


def test_every_variable_is_in_a_table_once_and_nothing_else_is() -> None:
    listed = sorted(quoted(row["variable"]) for row in ROWS)

    assert listed == sorted({*variable_names(ApiSettings).values(), *variable_names(WorkerSettings).values()})


@pytest.mark.parametrize("cls", [ApiSettings, WorkerSettings])
def test_setting_a_variable_to_its_default_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, cls: type[ProcessSettings]
) -> None:
    without = cls.model_validate(URLS)
    for variable, default in DEFAULT_BY_VARIABLE.items():
        monkeypatch.setenv(variable, default)

    assert cls.model_validate(URLS) == without
    assert DEFAULT_BY_VARIABLE.keys() & set(variable_names(cls).values())
