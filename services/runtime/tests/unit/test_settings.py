from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

import task_runtime.settings
from task_runtime import (
    Misconfigured,
    ProcessSettings,
    QueueNames,
    is_set,
    read_settings,
    shared_startup_warnings,
    unknown_variables,
)


class ShopSettings(ProcessSettings):
    model_config = SettingsConfigDict(env_prefix="TASK_WORKER_")

    concurrency: int = Field(50, ge=1, le=1000)
    served_queues: QueueNames | None = Field(None, validation_alias="TASK_WORKER_QUEUES")
    api_password: SecretStr | None = None


class OfficeSettings(ProcessSettings):
    model_config = SettingsConfigDict(env_prefix="TASK_API_")

    port: int = 9000


@pytest.fixture(autouse=True)
def environment(plain_environment: None, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An environment with the required variables and no other of ours."""
    monkeypatch.setenv("TASK_DATABASE_URL", "postgresql://u:hush@db/tasks")
    monkeypatch.setenv("TASK_BROKER_URL", "amqp://u:hush@mq/")
    return monkeypatch


def test_shared_and_own_variables_meet_in_one_class(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TASK_QUEUES", "default, reports,default,")
    environment.setenv("TASK_WORKER_QUEUES", "reports")
    environment.setenv("TASK_WORKER_CONCURRENCY", "7")
    environment.setenv("TASK_LOG_LEVEL", "warning")
    environment.setenv("TASK_LOG_FORMAT", "JSON")

    settings = read_settings(ShopSettings)

    assert settings.database_url.get_secret_value() == "postgresql://u:hush@db/tasks"
    assert settings.queues == ("default", "reports")
    assert settings.served_queues == ("reports",)
    assert (settings.concurrency, settings.log_level, settings.log_format) == (7, "WARNING", "json")


def test_a_shared_field_is_not_read_under_the_prefix_of_a_process(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TASK_WORKER_QUEUES", "reports")
    environment.setenv("TASK_WORKER_LOG_LEVEL", "DEBUG")

    settings = read_settings(ShopSettings)

    assert (settings.queues, settings.served_queues) == (("default",), ("reports",))
    assert settings.log_level == "INFO"


def test_what_is_not_set_has_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    settings = read_settings(ShopSettings)

    assert settings.queues == ("default",)
    assert settings.served_queues is None
    assert (settings.concurrency, settings.log_level) == (50, "INFO")
    assert settings.log_format == "json"  # stderr is no terminal here
    assert capsys.readouterr().err == ""


def test_a_given_field_wins_over_the_environment() -> None:
    settings = read_settings(ShopSettings, broker_url="memory://", concurrency=3)

    assert settings.broker_url.get_secret_value() == "memory://"
    assert settings.concurrency == 3


def test_a_secret_file_serves_where_the_variable_is_not_set(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment.setattr(task_runtime.settings, "SECRETS_FOLDER", tmp_path)
    environment.delenv("TASK_DATABASE_URL")
    (tmp_path / "task_database_url").write_text("postgresql://secret/tasks\n")
    (tmp_path / "TASK_WORKER_CONCURRENCY").write_text("9")
    (tmp_path / "TASK_BROKER_URL").write_text("amqp://not-this-one")

    settings = read_settings(ShopSettings)

    assert settings.database_url.get_secret_value() == "postgresql://secret/tasks"
    assert settings.broker_url.get_secret_value() == "amqp://u:hush@mq/"
    assert settings.concurrency == 9


def test_a_dotenv_file_is_not_read(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TASK_WORKER_CONCURRENCY=9\n")
    environment.chdir(tmp_path)

    assert read_settings(ShopSettings).concurrency == 50


def test_every_wrong_variable_gets_one_line_that_names_it(
    environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.delenv("TASK_DATABASE_URL")
    environment.setenv("TASK_BROKER_URL", "redis://u:hush@mq/")
    environment.setenv("TASK_QUEUES", "Default,a b")
    environment.setenv("TASK_WORKER_CONCURRENCY", "hush")
    environment.setenv("TASK_WORKER_QUEUES", "")
    environment.setenv("TASK_LOG_LEVEL", "LOUD")

    with pytest.raises(SystemExit) as caught:
        read_settings(ShopSettings)

    lines = capsys.readouterr().err.splitlines()
    assert caught.value.code == 2
    assert lines[0] == "error: TASK_DATABASE_URL: is required, but not set"
    assert lines[1] == "error: TASK_BROKER_URL: must begin with amqp:// or amqps://"
    assert lines[2].startswith("error: TASK_QUEUES: string should match")
    assert lines[3] == "error: TASK_LOG_LEVEL: input should be 'DEBUG', 'INFO', 'WARNING' or 'ERROR'"
    assert lines[4].startswith("error: TASK_WORKER_CONCURRENCY: input should be a valid integer")
    assert lines[5] == "error: TASK_WORKER_QUEUES: must name at least one queue"
    assert len(lines) == 6
    assert "hush" not in "".join(lines)


def test_whether_a_variable_is_set_is_known_without_reading_it(environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert is_set("TASK_DATABASE_URL")
    environment.setenv("TASK_DATABASE_URL", "")
    assert not is_set("TASK_DATABASE_URL")
    assert not is_set("TASK_WORKER_CONCURRENCY")

    environment.setattr(task_runtime.settings, "SECRETS_FOLDER", tmp_path)
    for name in ("task_worker_concurrency", "TASK_DATABASE_URL"):
        (tmp_path / name).touch()

    assert is_set("TASK_WORKER_CONCURRENCY")
    assert not is_set("TASK_DATABASE_URL"), "the environment wins"


def test_a_secret_file_that_cannot_be_read_is_named(
    environment: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(path: Path, *args: object, **kwargs: object) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    environment.setattr(task_runtime.settings, "SECRETS_FOLDER", tmp_path)
    (tmp_path / "TASK_WORKER_CONCURRENCY").write_text("9")
    environment.setattr(Path, "read_text", refuse)

    with pytest.raises(SystemExit):
        read_settings(ShopSettings)

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: ")
    assert f"Permission denied: '{tmp_path}/TASK_WORKER_CONCURRENCY'" in line


def test_printing_settings_shows_no_password() -> None:
    assert "hush" not in repr(read_settings(ShopSettings, api_password="hush"))


def test_only_the_in_process_broker_is_refused_to_a_process_that_runs_apart() -> None:
    read_settings(ShopSettings).require_shared_broker()

    with pytest.raises(Misconfigured, match=r"^TASK_BROKER_URL: memory://"):
        read_settings(ShopSettings, broker_url="memory://").require_shared_broker()


@pytest.mark.parametrize("value", ["tcp://10.0.0.7:9000", "udp://[fd00::7]:53"])
def test_a_port_that_kubernetes_has_set_is_one_line_that_says_where_it_comes_from(
    value: str, environment: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    environment.setenv("TASK_API_PORT", value)

    with pytest.raises(SystemExit):
        read_settings(OfficeSettings)

    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: TASK_API_PORT: Kubernetes has set it to the address of a Service called task-api;")
    assert "enableServiceLinks: false" in line
    assert value not in line


def test_what_kubernetes_sets_beside_a_port_is_not_warned_of() -> None:
    environment = {
        "TASK_WORKER_SERVICE_HOST": "10.0.0.7",
        "TASK_WORKER_SERVICE_PORT": "9000",
        "TASK_WORKER_SERVICE_PORT_HTTP": "9000",
        "TASK_WORKER_PORT": "tcp://10.0.0.7:9000",
        "TASK_WORKER_PORT_9000_TCP": "tcp://10.0.0.7:9000",
        "TASK_WORKER_PORT_9000_TCP_ADDR": "10.0.0.7",
        "TASK_WORKER_PORTS": "9000",
    }

    assert unknown_variables(ShopSettings, environment=environment) == ["TASK_WORKER_PORTS is not a setting"]


def test_a_misspelt_variable_is_named_with_the_one_that_was_meant() -> None:
    environment = {
        "TASK_WORKER_CONCURENCY": "5",
        "TASK_WORKER_FOO": "1",
        "TASK_DATABSE_URL": "x",
        "TASK_WORKR_QUEUES": "a",
    }

    assert unknown_variables(ShopSettings, environment=environment) == [
        "TASK_DATABSE_URL is not a setting; did you mean TASK_DATABASE_URL?",
        "TASK_WORKER_CONCURENCY is not a setting; did you mean TASK_WORKER_CONCURRENCY?",
        "TASK_WORKER_FOO is not a setting",
        "TASK_WORKR_QUEUES is not a setting; did you mean TASK_WORKER_QUEUES?",
    ]


def test_known_variables_and_those_of_other_processes_are_left_alone() -> None:
    environment = {
        "TASK_WORKER_CONCURRENCY": "5",
        "task_log_level": "INFO",
        "TASK_API_CONCURRENCY": "1",
        "TASK_TEST_DATABASE_URL": "x",
        "TASK_BIND": "0.0.0.0",
        "PATH": "/bin",
    }

    assert unknown_variables(ShopSettings, environment=environment) == []


def test_a_process_of_several_parts_knows_the_variables_of_each() -> None:
    environment = {"TASK_API_PORT": "1", "TASK_API_PROT": "1", "TASK_WORKER_CONCURRENCY": "1"}

    assert unknown_variables(ShopSettings, OfficeSettings, environment=environment) == [
        "TASK_API_PROT is not a setting; did you mean TASK_API_PORT?"
    ]


def test_unknown_variables_are_looked_for_in_the_real_environment(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TASK_WORKER_NONSENSE", "1")

    assert "TASK_WORKER_NONSENSE is not a setting" in unknown_variables(ShopSettings)


@pytest.mark.parametrize(
    ("name", "url"),
    [("TASK_DATABASE_URL", "postgresql://tasks:tasks@db/tasks"), ("TASK_BROKER_URL", "amqp://guest:guest@mq:5672/")],
)
def test_a_shipped_password_that_others_can_use_is_warned_of_and_not_repeated(
    name: str, url: str, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv(name, url)

    (line,) = shared_startup_warnings(read_settings(ShopSettings))

    assert line.startswith(f"{name}: the password is the shipped one")
    assert url not in line


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]"])
def test_a_shipped_password_on_loopback_is_fine(host: str, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TASK_DATABASE_URL", f"postgresql://tasks:tasks@{host}/tasks")

    assert shared_startup_warnings(read_settings(ShopSettings)) == []
