"""The URL of a database, as libpq reads it: what is taken, what is refused, and that no password is shown."""

from __future__ import annotations

import socket
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from task_store import Database, UnusableDatabaseError
from task_store._address import DatabaseAddress


def refused(url: str) -> str:
    """Return the line with which a URL is refused, which never has the password `hunter2`, or half of it, in it."""
    with pytest.raises(UnusableDatabaseError) as caught:
        DatabaseAddress.parse(url)
    assert "hunt" not in f"{caught.value} {caught.value.advice}"
    assert "er2" not in f"{caught.value} {caught.value.advice}"
    assert "\n" not in caught.value.advice
    return caught.value.advice


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+asyncpg"])
def test_every_way_to_write_postgresql_means_asyncpg(scheme: str) -> None:
    address = DatabaseAddress.parse(f" {scheme}://user:p%40ss@db.example:5433/tasks\n")

    assert address.dsn == "postgresql://user:p%40ss@db.example:5433/tasks"
    assert str(address) == "host db.example, port 5433, database tasks, user user"
    assert "p%40ss" not in repr(address)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("postgresql://me@h/t", "host h, port 5432, database t, user me"),
        ("postgresql://me@h", "host h, port 5432, database me, user me"),
        ("postgresql:///t?host=/run/x&port=6543&user=me", "host /run/x, port 6543, database t, user me"),
        ("postgresql://", "host (default), port 5432, database (default), user (default)"),
        ("postgresql://u:p@a:1,b:2,c/t", "host a,b,c, port 1,2,5432, database t, user u"),
        ("postgresql://u:p:q@[::1]:5/t%2Fx", "host [::1], port 5, database t/x, user u"),
        ("postgresql://%2Frun%2Fx/t?dbname=y", "host /run/x, port 5432, database t, user (default)"),
    ],
)
def test_a_line_names_host_port_database_and_user(url: str, named: str) -> None:
    assert str(DatabaseAddress.parse(url)) == named


def test_what_the_driver_knows_goes_to_it_unchanged() -> None:
    tls = "sslmode=verify-full&ssl_min_protocol_version=TLSv1.3"
    others = "target_session_attrs=read-write&host=h&user=a%2Bb%26c&passfile=%2Fx"

    address = DatabaseAddress.parse(f"postgresql:///t?{tls}&{others}")

    assert parse_qs(urlsplit(address.dsn).query) == {
        "sslmode": ["verify-full"],
        "target_session_attrs": ["read-write"],
        "host": ["h"],
        "user": ["a+b&c"],
        "passfile": ["/x"],
        "ssl_min_protocol_version": ["TLSv1.3"],
    }


def test_what_is_for_the_server_is_sent_to_it() -> None:
    address = DatabaseAddress.parse("postgresql://h/t?application_name=me&options=-c%20work_mem%3D5MB&ssl=require")

    assert address.parameters.server_settings == {"application_name": "me", "options": "-c work_mem=5MB"}
    assert urlsplit(address.dsn).query == "sslmode=require"


@pytest.mark.parametrize(
    ("query", "seconds"), [("connect_timeout=7", 7.0), ("connect_timeout=0", None), ("connect_timeout=-1", None)]
)
def test_the_time_to_connect_counts_in_seconds_and_0_bounds_nothing(query: str, seconds: float | None) -> None:
    assert DatabaseAddress.parse(f"postgresql://h/t?{query}").parameters.connect_seconds == seconds


def test_keepalives_become_options_of_the_socket() -> None:
    def options(query: str) -> dict[int, int]:
        found = DatabaseAddress.parse(f"postgresql://h/t?{query}").parameters.socket_options
        return {option: value for _, option, value in found}

    on, idle = socket.SO_KEEPALIVE, socket.TCP_KEEPIDLE
    interval, count = socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT

    assert options("application_name=a") == {on: 1, idle: 30, interval: 10, count: 3}
    assert options("keepalives=1&keepalives_idle=9&keepalives_interval=5&keepalives_count=0&tcp_user_timeout=0") == {
        on: 1,
        idle: 9,
        interval: 5,
    }
    assert options("keepalives=0")[on] == 0


@pytest.mark.parametrize(
    "query",
    ["channel_binding=prefer", "channel_binding=disable", "gssencmode=prefer", "sslsni=1", "client_encoding=UTF8"],
)
def test_what_holds_anyway_is_taken(query: str) -> None:
    assert DatabaseAddress.parse(f"postgresql://h/t?{query}").dsn == "postgresql://h/t"


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("channel_binding=require", "channel_binding=require cannot be had"),
        ("gssencmode=require", "gssencmode=require cannot be had"),
        ("client_encoding=LATIN1", "client_encoding=LATIN1 cannot be had"),
        ("colour=blue", "the parameter 'colour' is not known"),
        ("work_mem=5MB", "options=-c%20work_mem%3D…"),
        ("sslmode", "the query after ? must be name=value pairs"),
        ("connect_timeout=soon", "connect_timeout must be a whole number"),
        ("keepalives_idle=1s", "keepalives_idle must be a whole number"),
        ("sslrootcert=/no/such/file", "sslrootcert or sslcert cannot be read: No such file"),
    ],
)
def test_what_cannot_be_had_is_one_line_that_names_it(query: str, words: str) -> None:
    line = refused(f"postgresql://user:hunter2@h/t?{query}")

    assert words in line


def test_a_certificate_file_that_holds_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing of the kind")

    assert "sslrootcert or sslcert cannot be read" in refused(f"postgresql://h/t?sslrootcert={tmp_path}/ca.pem")


def test_the_certificates_of_the_system_can_be_asked_for() -> None:
    address = DatabaseAddress.parse("postgresql://h/t?sslmode=verify-full&sslrootcert=system")

    assert address.parameters.tls is not None
    assert "sslrootcert" not in address.dsn


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("postgresql://me:hunt@er2@db:5433/tasks", "host db, port 5433, database tasks, user me: "),
        ("postgresql://me:hunt#er2@db/tasks?sslmode=require", "host db, port 5432, database tasks, user me: "),
        ("postgresql://me:1#er2@db/tasks", "host db, port 5432, database tasks, user me: "),
        ("postgresql://me:hunt/er2@db/tasks", "host db, port 5432, database tasks, user me: "),
        ("postgresql://me:hunt@er2/er2@db/tasks", "host db, port 5432, database tasks, user me: "),
        ("postgresql://me:hunt?er2@db/tasks", ""),
        ("postgresql://db/tasks?user=me&password=hunt@er2", ""),
        ("postgresql://me@db/tasks?password=hunt@er2", ""),
        ("postgresql://me@db/tasks?password=hunt#er2", ""),
    ],
)
def test_a_special_character_that_is_not_escaped_is_the_likely_mistake(url: str, named: str) -> None:
    line = refused(url)

    assert line.startswith(f"{named}a special character is not escaped")
    assert "@ as %40" in line
    assert "# as %23" in line


@pytest.mark.parametrize("url", ["mysql://root:hunter2@db/tasks", "postgresql+psycopg://root:hunter2@db/tasks"])
def test_another_driver_is_named_and_the_url_is_not_repeated(url: str) -> None:
    assert "only postgresql:// is supported" in refused(url)


@pytest.mark.parametrize("url", ["", "hunter2", "://hunter2@db", "postgresql:/hunter2", "postgresql://u:[hunter2@h/t"])
def test_what_is_no_url_is_refused_without_repeating_it(url: str) -> None:
    assert "is not a database URL" in refused(url)


@pytest.mark.parametrize("hosts", ["me@db:hunter2", "db:0", "db:65536", "a,,b", "::1", "/?port=hunter2"])
def test_a_port_that_is_none_is_refused_without_repeating_it(hosts: str) -> None:
    assert "the port is not a number from 1 to 65535" in refused(f"postgresql://{hosts}")


def test_nothing_connects_before_the_first_call() -> None:
    database = Database("postgresql://user:hunter2@db.invalid/tasks")

    assert "hunter2" not in repr(database)
