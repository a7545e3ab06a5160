"""Measures this service and its peers: `uv run nox -s benchmark`, with these options behind `--`."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from benchmarks.figures import Run
from benchmarks.growth import Growth, GrowthSizes
from benchmarks.growth_report import PAGE as GROWTH_PAGE
from benchmarks.growth_report import SECTIONS
from benchmarks.pages import write_page
from benchmarks.peer import BARE, CACHE, Peer, PeerUnavailableError, outside_environment, peers
from benchmarks.plan import QUICK, Course, Sizes, entry, renamed
from benchmarks.report import comparison
from benchmarks.servers import Servers
from benchmarks.stage import Contestant

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
SERVICE = "service"
SHARED_TASKS_MIN = 1_000
"""Fewer tasks have all ended before several workers have started."""


def main() -> None:
    """Run what the command line asks for."""
    options = _parser().parse_args()
    if options.report:
        _write(Run.load(options.report), options.output or DOCS)
        return
    asyncio.run(_measure(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nox -s benchmark --", description=__doc__)
    parser.add_argument("--all", action="store_true", help="with the peers that the usual run leaves out")
    parser.add_argument("--peers", metavar="NAMES", help=f"only these, by comma, or none: {', '.join(peers())}")
    parser.add_argument("--tasks", type=int, metavar="N", help="nobody drains more; no 100,000")
    parser.add_argument("--rounds", type=int, metavar="N", help="how often all take their turns (3)")
    parser.add_argument("--quick", action="store_true", help="this tree beside another commit, in two minutes")
    parser.add_argument("--against", metavar="REV", help="that other commit (HEAD~1)")
    _add_growth(parser)
    parser.add_argument("--postgres", type=int, metavar="MAJOR", help="that version, not the preferred one")
    parser.add_argument("--output", type=Path, metavar="FOLDER", help="where the page goes: docs/ after a usual run")
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the page of these stored figures, and end")
    return parser


def _add_growth(parser: argparse.ArgumentParser) -> None:
    usual = GrowthSizes()
    growth = parser.add_argument_group("growth")
    growth.add_argument("--growth", action="store_true", help="this service alone, as something grows, in an hour")
    growth.add_argument("--sections", metavar="NAMES", help=f"only these, by comma: {', '.join(SECTIONS)}")
    rows = ",".join(map(str, usual.rows))
    growth.add_argument("--rows", metavar="NUMBERS", help=f"ended tasks in the table, by comma ({rows})")
    seconds = usual.snapshot_seconds
    growth.add_argument("--snapshot-seconds", type=float, default=seconds, metavar="N", help=f"({seconds:.0f})")
    growth.add_argument("--churn", type=int, default=usual.churn, metavar="N", help=f"rounds of it ({usual.churn})")


async def _measure(options: argparse.Namespace) -> None:
    began = time.monotonic()
    run = Run({}, [])
    with tempfile.TemporaryDirectory(prefix="task-benchmark-") as folder:
        async with Servers(options.postgres) as servers:
            run.machine = _machine(servers)
            await (_measure_growth if options.growth else _measure_speed)(options, run, servers, Path(folder))
    run.machine["took"] = f"{(time.monotonic() - began) / 60:.0f} minutes"
    usual = _parser()
    changed = {name for name, value in vars(options).items() if value != usual.get_default(name)}
    is_usual = not changed - {"growth", "all", "postgres", "output"}
    _write(run, options.output or (DOCS if is_usual else CACHE / "latest"))
    if options.quick:
        print(comparison(run))


async def _measure_speed(options: argparse.Namespace, run: Run, servers: Servers, folder: Path) -> None:
    """Measure the service and its peers."""
    sizes = _sizes(options)
    contestants = _contestants(options, servers, run)
    run.entries = [entry(one, sizes) for one in contestants]
    course = Course(run, servers, sizes, folder)
    await course.rounds(contestants, is_quick=options.quick)
    if not options.quick:
        peer = Peer.read(BARE)
        bare = Contestant(peer.name, peer, peer.install())
        run.entries.append(entry(bare, sizes))
        await course.http_rounds(contestants[0], bare)


async def _measure_growth(options: argparse.Namespace, run: Run, servers: Servers, folder: Path) -> None:
    """Measure the service alone as something grows."""
    run.page = GROWTH_PAGE
    service = peers()[SERVICE]
    usual = GrowthSizes()
    tasks = options.tasks or usual.tasks
    sizes = GrowthSizes(
        rounds=options.rounds or usual.rounds,
        tasks=tasks,
        rows=tuple(map(int, options.rows.split(","))) if options.rows else usual.rows,
        snapshot_seconds=options.snapshot_seconds,
        churn=options.churn,
        processes=usual.processes if tasks >= SHARED_TASKS_MIN else usual.processes[:1],
    )
    course = Course(run, servers, Sizes(), folder)
    sections = options.sections.split(",") if options.sections else list(SECTIONS)
    if unknown := sorted(set(sections) - SECTIONS.keys()):
        sys.exit(f"no such section: {', '.join(unknown)}; there are {', '.join(SECTIONS)}")
    await Growth(run, course, Contestant(SERVICE, service, service.install()), sizes).measure(sections)


def _sizes(options: argparse.Namespace) -> Sizes:
    usual = QUICK if options.quick else Sizes()
    if options.rounds:
        usual = replace(usual, rounds=options.rounds)
    if options.tasks and options.tasks < SHARED_TASKS_MIN:
        usual = replace(usual, processes=())
    if options.tasks:
        usual = replace(usual, tasks_max=options.tasks, http_seconds=1, http_rows=options.tasks, idle_seconds=1.0)
    return usual


def _contestants(options: argparse.Namespace, servers: Servers, run: Run) -> list[Contestant]:
    """Return who takes part, each with its environment made; who cannot is noted."""
    known = peers()
    service = known.pop(SERVICE)
    found = [Contestant(SERVICE, service, service.install())]
    if options.quick or options.against:
        found.append(_contestant_of_commit(service, options.against or "HEAD~1"))
    for peer in [] if options.quick else _asked_for(options, known):
        try:
            servers.check(peer)
            found.append(Contestant(peer.name, peer, peer.install()))
        except PeerUnavailableError as error:
            run.left_out[peer.title] = str(error)
            print(f"{peer.title} is left out: {error}", file=sys.stderr)
    return found


def _asked_for(options: argparse.Namespace, known: dict[str, Peer]) -> Sequence[Peer]:
    if options.peers is None:
        return [peer for peer in known.values() if peer.by_default or options.all]
    names = [name for name in options.peers.split(",") if name != "none"]
    if unknown := sorted(set(names) - known.keys()):
        sys.exit(f"no such peer: {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in names]


def _contestant_of_commit(service: Peer, revision: str) -> Contestant:
    """Return the service as it was in a commit, in an environment of its own in the cache."""
    commit = _git("rev-parse", "--short=12", f"{revision}^{{commit}}")
    folder = CACHE / "commits" / commit
    if not (folder / ".venv").exists():
        shutil.rmtree(folder, ignore_errors=True)
        archive = subprocess.run(["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
        with tarfile.open(fileobj=BytesIO(archive)) as files:
            files.extractall(folder, filter="data")
        python = f"--python={sys.version_info.major}.{sys.version_info.minor}"
        subprocess.run(
            ["uv", "sync", "-q", "--locked", "--all-packages", "--no-default-groups", python],
            cwd=folder,
            env=outside_environment(),
            check=True,
        )
    command = (str(folder / ".venv" / "bin" / "python"), str(service.script))
    return Contestant(f"{SERVICE} {commit[:7]}", renamed(service, f"this service at {commit[:7]}"), command)


def _machine(servers: Servers) -> dict[str, str]:
    is_changed = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": _git("rev-parse", "--short=12", "HEAD") + (" with changes" if is_changed else ""),
        "command": shlex.join(["uv", "run", "nox", "-s", "benchmark", "--", *sys.argv[1:]]).removesuffix(" --"),
        "processor": f"{os.cpu_count()} cores, {_processor()}",
        "system": platform.platform(terse=True),
        "Python": platform.python_version(),
        **servers.versions,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def _write(run: Run, folder: Path) -> None:
    print(f"written: {write_page(run, folder)}")


if __name__ == "__main__":
    main()
