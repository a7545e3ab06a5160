from __future__ import annotations

import subprocess
import sys


def test_an_api_that_need_not_migrate_loads_no_alembic() -> None:
    code = (
        "import sys, task_api.process; print([n for n in ('alembic', 'mako', 'task_migrations') if n in sys.modules])"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert loaded.stdout == "[]\n"
