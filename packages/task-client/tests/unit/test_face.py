"""The public names of the package, and that both clients have the same methods."""

from __future__ import annotations

import inspect
from inspect import ismodule

import pytest

import task_client
from task_client import AsyncTaskClient, TaskClient


def test_all_is_sorted_and_complete() -> None:
    public = {name for name, value in vars(task_client).items() if not name.startswith("_") and not ismodule(value)}

    assert task_client.__all__ == sorted(task_client.__all__)
    assert set(task_client.__all__) == public


def methods(client: type) -> set[str]:
    return {name for name in vars(client) if not name.startswith("_")}


def test_both_clients_have_the_same_methods() -> None:
    assert methods(TaskClient) - {"close"} == methods(AsyncTaskClient) - {"aclose"}


@pytest.mark.parametrize("method", sorted(methods(TaskClient) - {"close"}))
def test_a_method_takes_the_same_arguments_in_both_clients(method: str) -> None:
    parameters = [inspect.signature(getattr(client, method)).parameters for client in (TaskClient, AsyncTaskClient)]

    assert parameters[0] == parameters[1]


@pytest.mark.parametrize(
    "url", ["", "localhost:9000", "ftp://host", "http://", "/api", "service.test", "http://host:port"]
)
@pytest.mark.parametrize("client", [TaskClient, AsyncTaskClient])
def test_what_is_no_base_url_is_refused_at_once(client: type[TaskClient], url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        client(url)
