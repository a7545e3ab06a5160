"""Loads handlers from modules, files, and all files of folders."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import itertools
import sys
import sysconfig
import traceback
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import ModuleType

from task_worker.builtin import HttpHosts, built_in
from task_worker.handlers import Handler, HandlerError, handlers_of, one_line
from task_worker.places import Places, is_path, resolve_places

_STANDARD_LIBRARY = {
    folder
    for library in (
        sysconfig.get_path("stdlib"),
        sysconfig.get_path("platstdlib", vars={"platbase": sys.base_exec_prefix}),  # not that of a virtual environment
    )
    for folder in (library, f"{library}/lib-dynload")
}
"""The entries of `sys.path` in which Python's own modules are."""


def load_handlers(places: Places | None, http_hosts: HttpHosts | None = None) -> dict[str, Handler]:
    """Return the handlers at `places` and the built-in ones, by type.

    Args:
        places: `package.module`, `path/to/tasks.py`, or a folder. Of a folder all `*.py` files are loaded, in order of
            name, except those that begin with an underscore. Several places are separated by commas; None means none.
        http_hosts: what `http.request` may call; None for no such handler.

    Files can import other files of their folder, and modules the current folder: before installed packages, and after
    the standard library, of which they can hide nothing. Each file is executed once; a later call sees changes only
    after `forget_modules`.

    Raises:
        HandlerError: a place does not exist or cannot be imported, a handler cannot be used, or two handlers have the
            same type.

    """
    by_type: dict[str, Handler] = {}
    for handler in itertools.chain.from_iterable(map(handlers_of, _members(places, http_hosts))):
        if by_type.setdefault(handler.type, handler).function is not handler.function:
            raise HandlerError(f"two handlers have the type {handler.type}")
    return by_type


def forget_modules(places: Places, keep: Collection[str]) -> None:
    """Forget the modules that loading `places` imported from its own folders, so that the next load reads them again.

    `keep` names the modules that were imported before the first load. Installed packages stay imported too: many of
    them cannot be imported twice.
    """
    folders = folders_of(places)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name not in keep and file and "site-packages" not in file and folders & set(Path(file).resolve().parents):
            del sys.modules[name]


def folders_of(places: Places) -> set[Path]:
    """Return the folders of the files and modules that `places` name."""
    return {
        _folder(one if is_path(one) else getattr(sys.modules.get(one), "__file__", None) or ".")
        for one in resolve_places(places)
    }


def _folder(place: str) -> Path:
    path = Path(place).resolve()
    return path if path.is_dir() else path.parent


def _members(places: Places | None, http_hosts: HttpHosts | None) -> Iterator[object]:
    yield from built_in(http_hosts)
    for one in resolve_places(places or ()):
        for module in _files(one) if is_path(one) else [_module(one)]:
            yield from vars(module).values()


def _module(name: str) -> ModuleType:
    _make_importable(Path.cwd())
    return _imported(name, lambda: importlib.import_module(name))


def _files(place: str) -> Iterator[ModuleType]:
    path = Path(place).resolve()
    if not path.exists():
        raise HandlerError(f"{place}: no such file or folder")
    _make_importable(_folder(place))
    files = sorted(path.glob("*.py")) if path.is_dir() else [path]
    for file in files:
        if path.is_file() or not file.name.startswith("_"):
            yield _imported(str(file), functools.partial(_execute, file))


def _execute(file: Path) -> ModuleType:
    namesake = sys.modules.get(file.stem)
    if namesake is not None and getattr(namesake, "__file__", None) == str(file):
        return namesake  # executed again, it would define each handler a second time
    is_taken = namesake is not None or file.stem in sys.stdlib_module_names
    spec = importlib.util.spec_from_file_location(f"task_handlers_{file.stem}" if is_taken else file.stem, file)
    if spec is None or spec.loader is None:
        raise ImportError("is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # imports of other files and annotations look it up here
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module


def _imported(what: str, run: Callable[[], ModuleType]) -> ModuleType:
    try:
        return run()
    except HandlerError as error:
        raise HandlerError(f"{what}: {error}") from error
    except BaseException as error:  # the user's module may raise anything; the error says so in one line
        reason = f"{_where(error)}{one_line(error)}{_remedy(what, error)}"
        raise HandlerError(f"{what} cannot be imported: {reason}") from error


def _where(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "importlib" not in frame.filename and frame.filename != __file__]
    return f"{Path(own[-1].filename).name}, line {own[-1].lineno}: " if own else ""


def _remedy(what: str, error: BaseException) -> str:
    if not isinstance(error, ModuleNotFoundError) or error.name is None:
        return ""
    if what == error.name or what.startswith(f"{error.name}."):
        return f"; it is looked for in {Path.cwd()} and among the installed packages"
    package = error.name.partition(".")[0]
    return f"; start with `uv run --with {package} …`, or add the package to the image (docs/docker.md)"


def _make_importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    # Whatever came first (`python -m` puts the current folder there): a `secrets.py` in it would break other packages,
    # and run as this user if somebody else can write there. Handlers' processes get this path from the worker.
    sys.path[:] = sorted(sys.path, key=lambda entry: entry not in _STANDARD_LIBRARY)
