from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from task_api.bulk_body import BulkBody, BulkFilter
from task_api.queries import ListQuery
from task_contracts import Priority, TaskStatus, limits
from task_store import TaskFilter

EITHER = 'give either a filter with at least one condition, or "all": true for every task'
EVERY: dict[str, Any] = {
    "id": ["019dd6a4-0800-7000-8000-000000000000"],
    "status": ["FAILED", "CANCELLED"],
    "priority": ["HIGH"],
    "label": ["customer:42", "note:a,b:c"],
    "type": "report.build",
    "queue": "reports",
    "name": "monthly",
    "created_from": "2026-05-01T00:00:00+02:00",
    "finished_from": "2026-05-01T00:00:00+02:00",
    "finished_to": "2026-05-02T00:00:00Z",
    "fingerprint": "4f0c2b9a1d3e5f60",
    "worker": "019dd6a4-0800-7000-8000-000000000000",
    "id_prefix": "019DD6A4-08",
    "created_to": "2026-06-01T00:00:00Z",
}


def read(**fields: Any) -> BulkBody:
    return BulkBody.model_validate_json(json.dumps(fields))


def refused(**fields: Any) -> list[tuple[str, str]]:
    with pytest.raises(ValidationError) as error:
        read(**fields)
    found = error.value.errors(include_url=False)
    return [(".".join(map(str, one["loc"])), one["msg"].removeprefix("Value error, ")) for one in found]


def test_a_filter_has_the_names_of_the_list_and_means_the_same() -> None:
    listed = ListQuery.model_validate({**EVERY, "label": EVERY["label"]})

    assert read(filter=EVERY).to_filter() == listed.to_filter()
    assert BulkFilter.model_fields.keys() == EVERY.keys()
    assert ListQuery.model_fields.keys() - BulkFilter.model_fields.keys() == {
        *("idempotency_key", "order", "limit", "cursor", "include_total", "view")
    }


def test_a_filter_is_enough() -> None:
    body = read(filter={"status": ["FAILED"]})

    assert (body.all, body.dry_run, body.limit, body.cursor) == (False, False, limits.BULK_ITEMS_MAX, None)
    assert body.to_filter() == TaskFilter(statuses=frozenset({TaskStatus.FAILED}))


def test_all_stands_in_the_place_of_a_filter() -> None:
    assert read(all=True).to_filter() == TaskFilter()
    assert read(filter={"priority": ["LOW"]}, all=False).to_filter().priorities == {Priority.LOW}


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({}, ""),
        ({"all": False}, ""),
        ({"filter": {}}, "filter"),
        ({"filter": {}, "all": True}, "filter"),
        ({"filter": {"queue": "a"}, "all": True}, ""),
        ({"filter": None}, "filter"),
        ({"filter": None, "all": True}, "filter"),
    ],
)
def test_nothing_and_both_are_refused_and_the_answer_says_what_to_give(fields: dict[str, Any], place: str) -> None:
    ((where, message),) = refused(**fields)

    assert where == place
    assert message.endswith(EITHER)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("value", [None, []])
def test_a_condition_that_came_out_empty_never_means_every_task(name: str, value: object) -> None:
    assert {place for place, _ in refused(filter={"queue": "reports", name: value})} == {f"filter.{name}"}


@pytest.mark.parametrize(
    ("name", "value", "place"),
    [
        ("status", "FAILED", "status"),
        ("status", ["FAILED,CANCELLED"], "status.0"),
        ("status", ["DONE"], "status.0"),
        ("priority", ["HIGH", 3], "priority.1"),
        ("label", ["customer"], "label.0"),
        ("label", [{"customer": "42"}], "label.0"),
        ("label", [["customer", "42"]], "label.0"),
        ("label", {"customer": "42"}, "label"),
        ("label", ["a:b"] * 17, "label"),
        ("type", 5, "type"),
        ("name", "", "name"),
        ("created_from", 1_800_000_000, "created_from"),
        ("created_from", "2026-05-01", "created_from"),
        ("created_to", True, "created_to"),
        ("order", "oldest", "order"),
        ("id", ["x"], "id.0"),
        ("colour", "blue", "colour"),
    ],
)
def test_wrong_conditions_are_named(name: str, value: object, place: str) -> None:
    assert {where for where, _ in refused(filter={name: value})} == {f"filter.{place}"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("all", 1),
        ("all", "true"),
        ("dry_run", "yes"),
        ("dry_run", None),
        ("limit", 0),
        ("limit", 1001),
        ("limit", "5"),
        ("limit", True),
        ("limit", 5.0),
        ("cursor", "x"),
        ("cursor", 5),
        ("offset", 1),
    ],
)
def test_wrong_fields_are_named(name: str, value: object) -> None:
    assert name in {where for where, _ in refused(**{"filter": {"queue": "a"}, name: value})}


def test_conditions_are_one_text_for_one_filter() -> None:
    assert read(filter=EVERY).conditions == read(filter=dict(reversed(EVERY.items())), limit=5).conditions
    assert len({read(filter={name: value}).conditions for name, value in EVERY.items()} | {"all"}) == len(EVERY) + 1
    assert read(all=True).conditions == "all"


def test_the_schema_says_that_nothing_is_empty_or_null() -> None:
    schema = BulkBody.model_json_schema()
    conditions = schema["$defs"]["BulkFilter"]

    assert conditions["minProperties"] == 1
    assert all(conditions["properties"][name]["minItems"] == 1 for name in ("status", "priority", "label"))
    assert "null" not in json.dumps(conditions)
    assert "null" not in json.dumps(schema["properties"]["filter"])
    for example in schema["examples"]:
        assert BulkBody.model_validate_json(json.dumps(example))
