"""What stands in a query or a header takes linear time to look at, whatever it is."""

from __future__ import annotations

import pytest

from task_api.etags import etag_of, matches
from task_api.fields import field_name
from task_api.queries import ListQuery
from task_contracts.testing import assert_linear

LISTS = {"status", "priority", "label"}


def test_no_tag_takes_more_than_linear_time() -> None:
    assert_linear(lambda text: matches(text, etag_of(1)))


def test_no_name_of_a_field_takes_more_than_linear_time() -> None:
    assert_linear(lambda text: field_name(("body", text)))


@pytest.mark.parametrize("name", ListQuery.model_fields)
def test_no_parameter_takes_more_than_linear_time(name: str) -> None:
    assert_linear(lambda text: ListQuery.model_validate({name: [text] if name in LISTS else text}))
