"""Runs one attempt of a handler in your tests as a worker would, without a worker, a database or a broker.

    from task_worker.testing import run

    def test_a_month_has_its_pages():
        outcome = run(build, {"month": "2026-10"})

        assert outcome.result == {"pages": 12}
        assert [progress.percent for progress in outcome.progress] == [50]

The worker's own code validates the payload, turns exceptions into outcomes, stops a cancelled handler and makes JSON of
the result. The fixture `run_handler` of `task_worker.testing.plugin` does the same as `run`.
"""

from task_worker.testing.run_outcome import RunOutcome
from task_worker.testing.runs import arun, run
from task_worker.testing.single_attempt import StillRunningError

__all__ = ["RunOutcome", "StillRunningError", "arun", "run"]
