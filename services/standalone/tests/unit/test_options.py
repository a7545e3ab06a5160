from __future__ import annotations

from pathlib import Path

import pytest

import task_runtime.settings
from task_runtime import Misconfigured
from task_service.options import Options, Settings, default_data_dir


def _options(**given: object) -> Options:
    fields = {"host": None, "port": None, "data_dir": Path("/data"), "handlers": None, "is_reloading": False}
    return Options(**{**fields, **given})  # type: ignore[arg-type]


def test_without_any_setting_both_parts_use_the_embedded_database_and_the_bus_in_process() -> None:
    settings = Settings.read(_options(), "postgresql://task@/tasks?host=/run/x", api_url="http://127.0.0.1:1234")

    assert "host=/run/x" in settings.api.database_url.get_secret_value()
    assert settings.worker.database_url == settings.api.database_url
    assert settings.worker.broker_url.get_secret_value() == "memory://"
    assert settings.worker.api_url == "http://127.0.0.1:1234"


def test_a_database_named_in_the_environment_is_used_instead_of_the_embedded_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TASK_DATABASE_URL", "postgresql://me@db/tasks")
    options = _options()

    settings = Settings.read(options)

    assert not options.has_own_database
    assert "me@db" in settings.worker.database_url.get_secret_value()


def test_servers_named_by_secrets_are_used_instead_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(task_runtime.settings, "SECRETS_FOLDER", tmp_path)
    (tmp_path / "TASK_DATABASE_URL").write_text("postgresql://me@db/tasks\n")
    (tmp_path / "task_broker_url").write_text("amqp://me@mq/\n")
    options = _options()

    settings = Settings.read(options)

    assert not options.has_own_database
    assert "me@db" in settings.worker.database_url.get_secret_value()
    assert settings.api.broker_url.get_secret_value() == "amqp://me@mq/"


def test_backup_and_restore_are_for_the_folder_named_last_and_for_no_database_of_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert _options().own_data_dir(None) == Path("/data")
    assert _options().own_data_dir(Path("/other")) == Path("/other")

    monkeypatch.setenv("TASK_DATABASE_URL", "postgresql://me:hush@db/tasks")
    with pytest.raises(Misconfigured, match=r"TASK_DATABASE_URL .* pg_dump") as refused:
        _options().own_data_dir(Path("/other"))
    assert "hush" not in str(refused.value)


def test_a_broker_named_in_the_environment_is_used_instead_of_the_bus_in_process(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TASK_BROKER_URL", "amqp://me@mq/")

    settings = Settings.read(_options())

    assert settings.api.broker_url.get_secret_value() == "amqp://me@mq/"


def test_the_command_line_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASK_API_PORT", "1111")
    monkeypatch.setenv("TASK_WORKER_HANDLERS", "there.py")

    settings = Settings.read(_options(port=2222, host="0.0.0.0", handlers="here.py"))

    assert (settings.api.host, settings.api.port) == ("0.0.0.0", 2222)
    assert settings.worker.handlers == (str(Path("here.py").absolute()),)
    assert settings.worker.api_url == "http://127.0.0.1:2222"


def test_a_wrong_setting_ends_the_process_with_one_line_and_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TASK_API_PORT", "many")

    with pytest.raises(SystemExit) as ended:
        Settings.read(_options())

    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "TASK_API_PORT" in line


def test_the_data_are_kept_in_the_users_folder_unless_xdg_names_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)

    assert default_data_dir() == Path("/home/ada/.local/share/task-service")

    monkeypatch.setenv("XDG_DATA_HOME", "/elsewhere")
    assert default_data_dir() == Path("/elsewhere/task-service")
