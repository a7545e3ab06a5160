from __future__ import annotations

import ssl

import pytest

from task_client._http import client_options


def test_https_is_verified_by_one_context_for_all_clients() -> None:
    first, second = (client_options("https://tasks.test", 1)["verify"] for _ in range(2))

    assert first is second
    assert isinstance(first, ssl.SSLContext)
    assert (first.verify_mode, first.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_without_tls_no_certificates_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("task_client._http._tls", lambda: pytest.fail("loaded"))

    assert client_options("http://127.0.0.1:9000", 1)["verify"] is False
