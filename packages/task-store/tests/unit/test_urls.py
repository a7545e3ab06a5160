from __future__ import annotations

import pytest

from task_store import Database, normalised_url


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_every_way_to_write_postgresql_means_asyncpg(scheme: str) -> None:
    url = normalised_url(f"{scheme}://user:p%40ss@db.example:5433/tasks?application_name=me")

    assert url.render_as_string(hide_password=False) == (
        "postgresql+asyncpg://user:p%40ss@db.example:5433/tasks?application_name=me"
    )
    assert (url.password, url.port) == ("p@ss", 5433)


def test_sslmode_of_libpq_becomes_ssl_of_asyncpg() -> None:
    url = normalised_url("postgresql://db/tasks?sslmode=require")

    assert dict(url.query) == {"ssl": "require"}


@pytest.mark.parametrize("url", ["mysql://root:hunter2@db/tasks", "postgresql+psycopg://root:hunter2@db/tasks"])
def test_another_driver_is_named_and_the_url_is_not_repeated(url: str) -> None:
    with pytest.raises(ValueError, match="only postgresql:// is supported") as caught:
        normalised_url(url)

    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["", "hunter2", "://hunter2@db", "postgresql://root:hunter2@db:port/tasks", "postgresql:/hunter2"]
)
def test_what_is_no_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="is not a database URL") as caught:
        normalised_url(url)

    assert "hunter2" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_nothing_connects_before_the_first_call() -> None:
    database = Database("postgresql://user:hunter2@db.invalid/tasks")

    assert database.url.host == "db.invalid"
    assert "hunter2" not in repr(database)
