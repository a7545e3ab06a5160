"""For the tests of your handlers: runs one attempt as a worker would, without a worker, a database or a broker.

    from task_worker.testing import run

    def test_a_month_has_its_pages():
        outcome = run(build, {"month": "2026-10"})

        assert outcome.result == {"pages": 12}
        assert [progress.percent for progress in outcome.progress] == [50]

What runs is the worker's own code: the same lines validate the payload, understand what is raised, stop what is
cancelled, and make JSON of the result. The fixture of `task_worker.testing.plugin` does the same.
"""

from task_worker.testing.run_outcome import RunOutcome
from task_worker.testing.runs import arun, run
from task_worker.testing.single_attempt import StillRunningError

__all__ = ["RunOutcome", "StillRunningError", "arun", "run"]
