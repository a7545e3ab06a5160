from __future__ import annotations

import pytest

from task_api.settings import ApiSettings

GIVEN = {"database_url": "postgresql://h/t", "broker_url": "amqp://h/"}


def test_without_settings_of_its_own_the_api_listens_on_loopback_and_migrates() -> None:
    settings = ApiSettings(**GIVEN)

    assert (settings.host, settings.port, settings.migrate, settings.default_type) == ("127.0.0.1", 9000, True, "echo")


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASK_API_PORT", "9001")
    monkeypatch.setenv("TASK_API_MIGRATE", "false")
    monkeypatch.setenv("TASK_QUEUES", "default,reports")

    settings = ApiSettings(**GIVEN)

    assert (settings.port, settings.migrate, settings.queues) == (9001, False, ("default", "reports"))


def test_an_empty_default_type_means_that_there_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASK_API_DEFAULT_TYPE", "")

    assert ApiSettings(**GIVEN).default_type is None


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("", ()),
        (" , ", ()),
        ("tasks.example.org", ("tasks.example.org",)),
        (" Tasks.Example.org ,api.internal.,", ("tasks.example.org", "api.internal")),
    ],
)
def test_allowed_hosts_are_split_at_commas_and_compared_in_lower_case(
    monkeypatch: pytest.MonkeyPatch, text: str, names: tuple[str, ...]
) -> None:
    monkeypatch.setenv("TASK_API_ALLOWED_HOSTS", text)

    assert ApiSettings(**GIVEN).allowed_hosts == names


@pytest.mark.parametrize(
    "text", ["https://tasks.example.org", "tasks.example.org:443", "*.example.org", "a b.org", "a/"]
)
def test_what_is_more_than_a_name_is_no_allowed_host(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TASK_API_ALLOWED_HOSTS", text)

    with pytest.raises(ValueError, match="without scheme and port"):
        ApiSettings(**GIVEN)


@pytest.mark.parametrize("path", ["", "/tasks-service", "/a/b.c/~d_e-1", "/.well-known", "/a..b", "/..."])
def test_a_root_path_is_a_plain_path(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("TASK_API_ROOT_PATH", path)

    assert ApiSettings(**GIVEN).root_path == path


@pytest.mark.parametrize(
    "path",
    [
        *[
            "/",
            "tasks",
            "/tasks/",
            "//tasks",
            "/a//b",
            "/..",
            "/a/../b",
            "/./a",
            "/a/.",
            "/a b",
            "/a%2Fb",
            "/a?b",
            "/a#b",
        ],
        *["/é", "/a\n", "/{a}", "http://example.org/a", "/a:b", "\\a"],
    ],
)
def test_what_is_no_plain_path_is_no_root_path(monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    monkeypatch.setenv("TASK_API_ROOT_PATH", path)

    with pytest.raises(ValueError, match="with a slash before each part and none at its end"):
        ApiSettings(**GIVEN)


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("", ()),
        (" , ", ()),
        ("127.0.0.1", ("127.0.0.1/32",)),
        ("10.0.0.0/8, ::1,10.0.0.0/8", ("10.0.0.0/8", "::1/128")),
    ],
)
def test_trusted_proxies_are_addresses_and_networks(
    monkeypatch: pytest.MonkeyPatch, text: str, networks: tuple[str, ...]
) -> None:
    monkeypatch.setenv("TASK_API_TRUSTED_PROXIES", text)

    assert ApiSettings(**GIVEN).trusted_proxies == networks


@pytest.mark.parametrize("text", ["*", "proxy", "proxy.example.org", "10.0.0.1/8", "10.0.0.0/33", "127.0.0.1:80", "1"])
def test_what_is_no_address_is_no_trusted_proxy(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("TASK_API_TRUSTED_PROXIES", text)

    with pytest.raises(ValueError, match="must be addresses or networks, separated by commas"):
        ApiSettings(**GIVEN)


@pytest.mark.parametrize(
    ("name", "value"),
    [("port", 65_536), ("port", -1), ("host", ""), ("default_type", "a b"), ("database_pool_size", 0)],
)
def test_what_cannot_be_is_refused(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=name):
        ApiSettings(**{**GIVEN, name: value})
