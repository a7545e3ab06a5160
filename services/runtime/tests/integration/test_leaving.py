"""A process ends in a bounded time, whatever its code has left behind: real processes."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from textwrap import dedent

import pytest

SECONDS_MAX = 7.0
PROCESS = """
import asyncio, atexit, concurrent.futures, multiprocessing, sys, threading, time
from task_runtime import ExitCode, ProcessSettings, exit_process, run_process

async def main():
    {body}
    atexit.register(print, "in order", flush=True)
    print("not flushed", end=" ")
    print("over", time.time(), file=sys.stderr, flush=True)
    return ExitCode.FAILED

if __name__ == "__main__":
    settings = ProcessSettings(
        database_url="postgresql://h/t", broker_url="memory://", log_format="json", log_level="INFO"
    )
    exit_process(run_process(main, settings))
"""
HUNG = {
    "to_thread": "asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)",
    "thread": "threading.Thread(target=time.sleep, args=(60,), name='mine').start()",
    "executor": "concurrent.futures.ThreadPoolExecutor(1).submit(time.sleep, 60)",
    "process": "multiprocessing.Process(target=time.sleep, args=(60,), name='child').start()",
    "process pool": "concurrent.futures.ProcessPoolExecutor(1).submit(time.sleep, 60)",
    "task that ignores its cancel": dedent("""
        async def deaf():
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    pass
        globals()["task"] = asyncio.create_task(deaf())
        await asyncio.sleep(0)
    """).replace("\n", "\n    "),
    "atexit": "atexit.register(time.sleep, 60)",
}


def run(body: str) -> tuple[subprocess.CompletedProcess[str], float]:
    done = subprocess.run(
        [sys.executable, "-c", PROCESS.replace("{body}", body)],
        timeout=120,
        capture_output=True,
        text=True,
        check=False,
    )
    (over,) = [line for line in done.stderr.splitlines() if line.startswith("over")]
    return done, time.time() - float(over.split()[1])


@pytest.mark.alone
def test_a_process_ends_in_time_with_its_exit_code_and_its_output() -> None:
    with ThreadPoolExecutor(len(HUNG)) as threads:
        ended = dict(zip(HUNG, threads.map(run, HUNG.values()), strict=True))

    assert {name: done.returncode for name, (done, _) in ended.items()} == dict.fromkeys(HUNG, 1)
    assert {name: seconds for name, (_, seconds) in ended.items() if seconds >= SECONDS_MAX} == {}
    assert [name for name, (done, _) in ended.items() if "not flushed" not in done.stdout] == []
    log = ended["thread"][0].stderr
    assert '"event": "leftovers_abandoned"' in log
    assert '"threads": ["mine"]' in log


def test_what_waited_for_a_killed_child_alone_ends_in_order() -> None:
    """Else its last functions run while another thread already leaves: coverage's, for example, crash there."""
    slow = 'atexit.register(lambda: (time.sleep(0.2), print("to the end")))'

    done, _ = run(f"{HUNG['process pool']}; {slow}")

    assert done.returncode == 1
    assert done.stdout == "not flushed in order\nto the end\n"


def test_a_process_that_leaves_nothing_ends_in_order() -> None:
    done, _ = run("pass")

    assert done.returncode == 1
    assert done.stdout == "not flushed in order\n"
    assert "leftovers" not in done.stderr
