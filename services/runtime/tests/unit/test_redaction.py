from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from uuid import UUID

import pytest
from pydantic import BaseModel, ValidationError

from task_contracts import KeyText
from task_contracts.testing import assert_linear
from task_runtime import safe_text, safe_url
from task_runtime.redaction import TEXT_CHARS_MAX, safe_fields


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql+asyncpg://u:hush@h:5432/t", "postgresql+asyncpg://u:***@h:5432/t"),
        ("amqp://guest:hush@mq:5672/%2F", "amqp://guest:***@mq:5672/%2F"),
        ("amqp://:hush@mq", "amqp://:***@mq"),
        ("amqp://u:hu@s/h@mq", "amqp://u:***@mq"),
        ("amqp://u:" + "hush" * 1_000 + "@mq", "amqp://u:***@mq"),
        ("postgresql:///t?host=/run&password=hush&x=1", "postgresql:///t?host=/run&password=***&x=1"),
        ("postgresql:///t?sslpassword=hush&x=1", "postgresql:///t?sslpassword=***&x=1"),
        ("host=h password='hu sh' user=u", "host=h password=*** user=u"),
        ("postgresql://u@h/t", "postgresql://u@h/t"),
        ("http://h:80/path", "http://h:80/path"),
    ],
)
def test_a_url_loses_its_password_and_nothing_else(url: str, shown: str) -> None:
    assert safe_url(url) == shown
    assert safe_text(f"cannot reach {url} now") == f"cannot reach {shown} now"


def test_a_key_of_the_api_loses_its_secret_and_keeps_its_id() -> None:
    key = KeyText.new()
    text = f"refused: Bearer {key}, and {str(key)[:-30]} (cut); attempts_max_reached_by_everybody"

    shown = safe_text(text)

    assert shown == f"refused: Bearer ts_{key.id}_***, and ts_{key.id}_*** (cut); attempts_max_reached_by_everybody"


def test_a_text_without_secrets_stays_as_it_is() -> None:
    text = "echo: 12:30, a@b.c, key=value, https://example.org/?q=1"

    assert safe_text(text) == text


def test_a_row_in_the_detail_of_an_error_is_left_out() -> None:
    text = (
        'new row violates check constraint "ck"\nDETAIL:  Failing row contains (1, hush,\nHINT: hush).\n'
        "[SQL: INSERT]\n[parameters: ('hush',)]"
    )

    assert safe_text(text) == 'new row violates check constraint "ck"'
    assert safe_text("bad\n[SQL: SELECT $1]\n[parameters: ('hush',)]") == "bad\n[SQL: SELECT $1]"


def test_the_input_that_a_validation_error_repeats_is_left_out() -> None:
    class Sum(BaseModel):
        total: int

    with pytest.raises(ValidationError) as caught:
        Sum(total="hush, hush")

    shown = safe_text(str(caught.value))
    assert "hush" not in shown
    assert "input_value=***, input_type=str" in shown


@pytest.mark.parametrize("look", [safe_url, lambda text: safe_text(text, len(text))], ids=["safe_url", "safe_text"])
def test_no_text_takes_more_than_linear_time(look: Callable[[str], str]) -> None:
    assert_linear(look)


def test_a_long_text_is_cut_before_anything_looks_at_it() -> None:
    shown = safe_text("a" * 1_000_000)

    assert shown == "a" * TEXT_CHARS_MAX + "…"
    assert safe_text("b" * TEXT_CHARS_MAX) == "b" * TEXT_CHARS_MAX


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        ("at amqp://u:hush-hush@h", "at amqp://u:***…"),
        ("at h?password=hush-hush&x=1", "at h?password=***"),
        ("password='hush hush' x", "password=***"),
        ("[input_value='hush hush', input_type=str]", "[input_value=***"),
        ("bad\nDETAIL:  Failing row contains (hush)", "bad"),
        ("bad\n[parameters: ('hush',)]", "bad"),
    ],
)
def test_a_secret_that_a_cut_goes_through_does_not_come_out(secret: str, shown: str) -> None:
    cuts = [safe_text(secret, chars) for chars in range(secret.index("hush") + 1, len(secret))]

    assert shown in cuts
    assert not any("hu" in cut for cut in cuts)


def test_fields_are_masked_by_their_keys() -> None:
    fields = {
        "password": "hush",
        "db_password": "hush",
        "Authorization": "hush",
        "X-Api-Token": "hush",
        "client_secret": b"hush",
        "nested": {"token": "hush", "rows": [{"cookie": "hush"}]},
        "lease_token": "kept",
        "broken": "kept",
        "at amqp://u:hush@h": "kept",
    }

    shown = safe_fields(fields)

    assert "hush" not in str(shown)
    assert shown["lease_token"] == shown["broken"] == "kept"


def test_fields_become_json() -> None:
    moment = datetime(2026, 11, 1, tzinfo=UTC)
    fields = {
        "id": UUID(int=1),
        "at": moment,
        "n": 1,
        "f": 0.5,
        "nan": float("nan"),
        "no": None,
        "yes": True,
        "many": (UUID(int=2), "amqp://u:hush@h"),
        "error": ValueError("at amqp://u:hush@h"),
    }

    assert safe_fields(fields) == {
        "id": str(UUID(int=1)),
        "at": str(moment),
        "n": 1,
        "f": 0.5,
        "nan": "nan",
        "no": None,
        "yes": True,
        "many": [str(UUID(int=2)), "amqp://u:***@h"],
        "error": "at amqp://u:***@h",
    }
