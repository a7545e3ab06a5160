from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from task_runtime import BrokerUrl, DatabaseUrl

DATABASE = TypeAdapter(DatabaseUrl)
BROKER = TypeAdapter(BrokerUrl)


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("postgresql://u:p@host:5432/tasks", "postgresql+asyncpg://u:p@host:5432/tasks"),
        ("postgres://host/tasks", "postgresql+asyncpg://host/tasks"),
        ("postgresql+asyncpg://host/tasks", "postgresql+asyncpg://host/tasks"),
        (" postgresql://host/tasks\n", "postgresql+asyncpg://host/tasks"),
        ("postgresql:///tasks?host=/run/db", "postgresql+asyncpg:///tasks?host=/run/db"),
        ("postgresql://h/t?sslmode=require&a=b%20c", "postgresql+asyncpg://h/t?ssl=require&a=b+c"),
        ("postgresql://u:p%40%2Fx@[::1]:5432/t", "postgresql+asyncpg://u:p%40%2Fx@[::1]:5432/t"),
    ],
)
def test_any_usual_address_of_a_database_becomes_one_for_asyncpg(written: str, wanted: str) -> None:
    assert DATABASE.validate_python(written).get_secret_value() == wanted


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


@pytest.mark.parametrize("kind", [DATABASE, BROKER])
@pytest.mark.parametrize("password", ["hush/hush", "hush\u2100hush", "[hush"])
def test_a_password_that_breaks_the_address_is_not_repeated(kind: TypeAdapter[object], password: str) -> None:
    with pytest.raises(ValidationError) as caught:
        kind.validate_python(f"postgresql://user:{password}@host/tasks")

    assert "special characters in a password" in str(caught.value.errors()[0]["msg"])
    assert "hush" not in str(caught.value.errors(include_input=False, include_context=False))


def test_an_address_is_never_printed() -> None:
    url = DATABASE.validate_python("postgresql://u:hush@host/tasks")

    assert "hush" not in f"{url} {url!r}"
