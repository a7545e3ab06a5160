from __future__ import annotations

import pytest

from task_api.etags import etag_of, matches


@pytest.mark.parametrize("header", ['W/"7"', '"7"', '"1", W/"7"', "*", ' W/"7" '])
def test_what_the_caller_has_is_recognised(header: str) -> None:
    assert matches(header, etag_of(7))


@pytest.mark.parametrize("header", [None, "", 'W/"8"', "7", 'W/"77"', "**", '"1",'])
def test_anything_else_is_another_version(header: str | None) -> None:
    assert not matches(header, etag_of(7))
