"""Problem documents: the one shape of every error."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from task_contracts import PROBLEM_MEDIA_TYPE, FieldProblem, Problem, ProblemCode


def test_a_problem_survives_the_way_through_json() -> None:
    problem = Problem(
        title="Unprocessable Content",
        status=422,
        detail="one field is wrong: body.priority",
        code=ProblemCode.VALIDATION,
        errors=[FieldProblem(field="body.priority", message="Input should be 'LOW', 'MEDIUM' or 'HIGH'")],
    )

    assert Problem.model_validate_json(problem.model_dump_json()) == problem
    assert problem.type == "about:blank"


def test_a_code_of_a_newer_server_is_read() -> None:
    answer = '{"title": "Teapot", "status": 418, "detail": "short and stout", "code": "teapot", "note": 1}'

    assert Problem.model_validate_json(answer).code == "teapot"


@pytest.mark.parametrize("status", [200, 399, 600])
def test_a_status_that_is_no_error_is_no_problem(status: int) -> None:
    with pytest.raises(ValidationError):
        Problem(title="t", status=status, detail="d", code="c")


def test_the_media_type_and_the_codes_are_stable() -> None:
    assert PROBLEM_MEDIA_TYPE == "application/problem+json"
    assert {code.value for code in ProblemCode} >= {
        "validation_error",
        "task_not_found",
        "task_finished",
        "unavailable",
    }
