from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from task_runtime import BrokerUrl, DatabaseUrl

DATABASE = TypeAdapter(DatabaseUrl)
BROKER = TypeAdapter(BrokerUrl)


@pytest.mark.parametrize(
    "written",
    [
        "postgresql://u:p@host:5432/tasks",
        "postgres://host/tasks",
        "postgresql+asyncpg://host/tasks",
        "postgresql:///tasks?host=/run/db",
        "postgresql://a:1,b:2/t?sslmode=require&options=-c%20a%3Db",
        "postgresql://u:p%40%2Fx@[::1]:5432/t",
    ],
)
def test_a_database_keeps_its_address(written: str) -> None:
    assert DATABASE.validate_python(f" {written}\n").get_secret_value() == written


@pytest.mark.parametrize("written", ["", "host/tasks", "mysql://host/tasks", "sqlite:///x"])
def test_an_address_of_something_else_is_no_database(written: str) -> None:
    with pytest.raises(ValidationError, match="must begin with postgresql://"):
        DATABASE.validate_python(written)


@pytest.mark.parametrize("written", ["amqp://u:p@host:5672/", "amqps://host", "memory://"])
def test_a_broker_keeps_its_address(written: str) -> None:
    assert BROKER.validate_python(written).get_secret_value() == written


@pytest.mark.parametrize(
    ("written", "complaint"),
    [
        ("redis://host", "must begin with amqp://"),
        ("amqp://", "must name a host"),
        ("amqp:///vhost", "must name a host"),
    ],
)
def test_an_address_of_something_else_is_no_broker(written: str, complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        BROKER.validate_python(written)


@pytest.mark.parametrize("password", ["hush/hush", "hush\u2100hush", "[hush"])
def test_a_password_that_breaks_the_address_is_not_repeated(password: str) -> None:
    with pytest.raises(ValidationError) as caught:
        BROKER.validate_python(f"amqp://user:{password}@host/")

    assert "special characters in a password" in str(caught.value.errors()[0]["msg"])
    assert "hush" not in str(caught.value.errors(include_input=False, include_context=False))


def test_an_address_is_never_printed() -> None:
    url = DATABASE.validate_python("postgresql://u:hush@host/tasks")

    assert "hush" not in f"{url} {url!r}"
