from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from task_worker import HandlerError
from task_worker.builtin import HttpHosts
from task_worker.loader import folders_of, forget_modules, load_handlers
from task_worker.places import resolve_places

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a file; forget all modules that the test imports."""
    modules, path = dict(sys.modules), list(sys.path)
    # With bytecode, a file that changes twice in a second would be read from the cache.
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.chdir(tmp_path)

    def file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(dedent(text))
        return path

    yield file
    sys.path[:] = path
    for name in set(sys.modules) - set(modules):
        del sys.modules[name]


ONE = """
    from task_worker import handler

    @handler("{type}")
    def run() -> str:
        return "{type}"
"""


def test_without_a_place_there_are_the_built_in_ones() -> None:
    assert set(load_handlers(None)) == set(load_handlers("")) == {"echo"}


def test_http_request_is_there_where_it_has_hosts() -> None:
    assert set(load_handlers(None, HttpHosts.parse("api.example.org"))) == {"echo", "http.request"}


def test_certificates_that_cannot_be_read_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").touch()

    for name in ("empty", "none"):
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / name))
        with pytest.raises(HandlerError, match=r"^http\.request: what SSL_CERT_FILE"):
            load_handlers(None, HttpHosts.parse("api.example.org"))


def test_without_hosts_a_users_handler_may_take_the_type_http_request(write: Write) -> None:
    path = write("jobs.py", ONE.format(type="http.request"))

    assert load_handlers(str(path))["http.request"].function() == "http.request"
    with pytest.raises(HandlerError, match=r"two handlers have the type http\.request"):
        load_handlers(str(path), HttpHosts.parse("api.example.org"))


def test_without_hosts_no_http_library_is_loaded() -> None:
    script = "import sys; from task_worker.loader import load_handlers; load_handlers(None); print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()

    assert "task_worker.builtin" in loaded
    assert "httpx2" not in loaded


def test_a_file_is_loaded_by_its_path(write: Write) -> None:
    path = write("jobs.py", ONE.format(type="one"))

    assert load_handlers(str(path))["one"].function() == "one"
    assert "one" in load_handlers("jobs.py")
    assert "one" in load_handlers("./jobs.py")


def test_a_module_is_loaded_by_its_name(write: Write) -> None:
    write("acme/__init__.py", "")
    write("acme/handlers.py", ONE.format(type="one"))

    assert set(load_handlers("acme.handlers")) == {"echo", "one"}


def test_every_file_of_a_folder_is_loaded_but_those_with_an_underscore(write: Write) -> None:
    write("folder/a.py", ONE.format(type="a"))
    write("folder/b.py", ONE.format(type="b"))
    write("folder/_c.py", ONE.format(type="c"))
    write("folder/deeper/d.py", ONE.format(type="d"))

    assert set(load_handlers("folder")) == {"echo", "a", "b"}


def test_several_places_are_separated_by_commas(write: Write) -> None:
    write("one.py", ONE.format(type="one"))
    write("two/a.py", ONE.format(type="two"))

    assert set(load_handlers("one.py, two/,")) == {"echo", "one", "two"}


@pytest.mark.parametrize(("importing", "imported"), [("a", "z"), ("z", "a")])
def test_neighbours_are_one_module_whoever_comes_first(write: Write, importing: str, imported: str) -> None:
    write(f"folder/{imported}.py", ONE.format(type="shared"))
    write(f"folder/{importing}.py", f"from {imported} import run as other\n" + dedent(ONE.format(type="own")))

    found = load_handlers("folder")

    assert set(found) == {"echo", "shared", "own"}


def test_a_file_with_the_name_of_a_known_module_is_loaded_and_hides_nothing(write: Write) -> None:
    import json

    write("folder/json.py", ONE.format(type="one"))

    assert "one" in load_handlers("folder")
    assert sys.modules["json"] is json


@pytest.mark.parametrize("place", ["jobs.py", "jobs"])
@pytest.mark.parametrize("is_first", [False, True], ids=["command", "python -m"])
def test_no_file_beside_the_handlers_hides_a_module_of_the_standard_library(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, is_first: bool
) -> None:
    monkeypatch.delitem(sys.modules, "secrets", raising=False)
    if is_first:
        sys.path.insert(0, str(tmp_path))
    write("secrets.py", "raise RuntimeError('hides the real one')")
    write("neighbour.py", "")
    write("jobs.py", "import neighbour\n" + dedent(ONE.format(type="one")))

    load_handlers(place)
    import secrets

    assert secrets.token_hex()


def test_a_handlers_file_with_the_name_of_a_standard_module_hides_nothing(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "secrets", raising=False)
    write("folder/secrets.py", ONE.format(type="one"))

    assert "one" in load_handlers("folder")
    import secrets

    assert secrets.token_hex()


def test_a_file_beside_the_handlers_comes_before_installed_packages(write: Write) -> None:
    sys.path.append(str(write("site-packages/neighbour.py", "raise RuntimeError('of a package')").parent))
    write("folder/neighbour.py", "")
    write("folder/jobs.py", "import neighbour\n" + dedent(ONE.format(type="one")))

    assert "one" in load_handlers("folder/jobs.py")


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = 1 / 0\n", "{file} cannot be imported: jobs.py, line 1: ZeroDivisionError: division by zero"),
        ("def f(:\n", "{file} cannot be imported: line 1: SyntaxError: "),
        ("\n\nimport nothing_like_it\n", "{file} cannot be imported: jobs.py, line 3: ModuleNotFoundError: "),
        ("raise KeyboardInterrupt\n", "{file} cannot be imported: jobs.py, line 1: KeyboardInterrupt"),
        (
            "class E(Exception):\n    def __str__(self): raise SystemExit\nraise E\n",
            "{file} cannot be imported: jobs.py, line 3: E",
        ),
        ("raise ValueError('one\\ntwo')\n", "{file} cannot be imported: jobs.py, line 1: ValueError: one"),
        (
            "import nothing_like_it.part\n",
            "{file} cannot be imported: jobs.py, line 1: ModuleNotFoundError: No module named 'nothing_like_it'; start",
        ),
        (
            "from task_worker import handler\n@handler\ndef build(payload): ...\n",
            '{file}: build is decorated with @handler alone: write @handler("name")',
        ),
        ("import sys\nsys.exit(3)\n", "{file} cannot be imported: jobs.py, line 2: SystemExit: 3"),
        ("from broken import x\n", "{file} cannot be imported: broken.py, line 2: RuntimeError: no"),
        (
            "from task_worker import handler\nhandler('a b')\n",
            "{file}: 'a b' is not a type: letters, digits and . _ : / - only, at most 100",
        ),
    ],
)
def test_what_cannot_be_imported_is_one_line_with_its_place(write: Write, text: str, line: str) -> None:
    write("broken.py", "\nraise RuntimeError('no')\n")
    path = write("jobs.py", text)

    with pytest.raises(HandlerError) as caught:
        load_handlers("jobs.py")

    assert str(caught.value).startswith(line.format(file=path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("place", "text"), [("nowhere.py", "no such file"), ("no/folder", "no such file")])
def test_a_place_that_does_not_exist_is_an_error(write: Write, place: str, text: str) -> None:
    with pytest.raises(HandlerError, match=text):
        load_handlers(place)


def test_a_module_that_does_not_exist_is_an_error(write: Write) -> None:
    with pytest.raises(HandlerError, match="acme_nothing cannot be imported: ModuleNotFoundError"):
        load_handlers("acme_nothing")


def test_a_package_that_is_missing_comes_with_a_remedy(write: Write) -> None:
    write("jobs.py", "import nothing_like_it.part\n")

    with pytest.raises(HandlerError, match=r"with `uv run --with nothing_like_it …`, or add .* \(docs/docker\.md\)$"):
        load_handlers("jobs.py")


def test_a_place_that_names_no_module_says_where_it_was_looked_for(write: Write, tmp_path: Path) -> None:
    with pytest.raises(HandlerError, match=f"it is looked for in {tmp_path} and among the installed packages"):
        load_handlers("acme_nothing.tasks")


def test_a_function_may_have_two_types(write: Write) -> None:
    write("jobs.py", ONE.format(type="old").replace('@handler("old")', '@handler("new")\n    @handler("old")'))

    assert set(load_handlers("jobs.py")) == {"echo", "old", "new"}


def test_what_raises_when_it_is_looked_at_is_no_handler(write: Write) -> None:
    text = """
        class Proxy:
            def __getattr__(self, name):
                raise RuntimeError("working outside of a context")

        class Agreeable:
            def __getattr__(self, name):
                return lambda *args: self

        proxy, agreeable = Proxy(), Agreeable()
    """
    write("jobs.py", dedent(ONE.format(type="one")) + dedent(text))

    assert set(load_handlers("jobs.py")) == {"echo", "one"}


@pytest.mark.parametrize("error", ["RuntimeError('no schema')", "SystemExit(2)"])
def test_a_payload_without_a_schema_is_an_error_that_names_its_type(write: Write, error: str) -> None:
    text = f"""
        from pydantic import BaseModel
        from task_worker import handler

        class Odd(BaseModel):
            @classmethod
            def __get_pydantic_json_schema__(cls, core_schema, handler):
                raise {error}

        @handler("odd")
        def run(payload: Odd): ...
    """
    write("jobs.py", text)

    with pytest.raises(HandlerError) as caught:
        load_handlers("jobs.py")

    name = error.replace("(", ": ").strip(")").replace("'", "")
    assert str(caught.value) == f"odd: the type of its payload cannot be used: {name}"


def test_resolved_places_do_not_depend_on_the_current_folder(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("one.py", ONE.format(type="one"))
    write("two/a.py", ONE.format(type="two"))
    places = resolve_places(" one.py, two/,,some.module")
    elsewhere = tmp_path / "two"
    monkeypatch.chdir(elsewhere)

    assert places == (str(tmp_path / "one.py"), str(tmp_path / "two"), "some.module")
    assert resolve_places(places) == places
    assert set(load_handlers(places[:2])) == {"echo", "one", "two"}


def test_two_handlers_of_one_type_are_an_error(write: Write) -> None:
    write("folder/a.py", ONE.format(type="same"))
    write("folder/b.py", ONE.format(type="same"))

    with pytest.raises(HandlerError, match="two handlers have the type same"):
        load_handlers("folder")


def test_a_wrong_handler_is_an_error_that_names_its_type(write: Write) -> None:
    write("jobs.py", ONE.format(type="one").replace("run()", "run(a, b, c)"))

    with pytest.raises(HandlerError, match="one: a handler takes"):
        load_handlers("jobs.py")


def test_a_changed_file_is_read_again_once_it_is_forgotten(write: Write) -> None:
    keep = frozenset(sys.modules)
    write("helper.py", "VALUE = 'old'\n")
    text = ONE.format(type="one").replace('return "one"', "return helper.VALUE")
    write("jobs.py", "import helper\n" + dedent(text))
    assert load_handlers("jobs.py")["one"].function() == "old"

    write("helper.py", "VALUE = 'brand new'\n")
    forget_modules("jobs.py", keep)

    assert load_handlers("jobs.py")["one"].function() == "brand new"


def test_a_file_that_was_broken_loads_once_it_is_mended(write: Write) -> None:
    write("jobs.py", "raise RuntimeError")
    with pytest.raises(HandlerError):
        load_handlers("jobs.py")

    write("jobs.py", ONE.format(type="one"))

    assert "one" in load_handlers("jobs.py")


def test_only_modules_that_loading_imported_are_forgotten(write: Write, tmp_path: Path) -> None:
    write("early.py", "")
    sys.path.insert(0, str(tmp_path))
    import early  # type: ignore[import-not-found] # written above

    keep = frozenset(sys.modules)
    write("jobs.py", "import early, json\n" + dedent(ONE.format(type="one")))
    load_handlers("jobs.py")

    forget_modules("jobs.py", keep)

    assert sys.modules["early"] is early
    assert "json" in sys.modules
    assert "jobs" not in sys.modules


def test_the_folders_to_watch_are_those_of_the_files(write: Write, tmp_path: Path) -> None:
    write("one/a.py", "")
    write("two.py", "")

    assert folders_of("one, two.py, some.module") == {tmp_path / "one", tmp_path}
