"""Loads handlers from modules, files, and all files of folders."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import ModuleType

from task_worker.builtin import HttpHosts, built_in
from task_worker.handlers import Handler, HandlerError, handler_of


def load_handlers(place: str | None, http_hosts: HttpHosts | None = None) -> dict[str, Handler]:
    """Return the handlers at `place` and the built-in ones, by type.

    Args:
        place: `package.module`, `path/to/tasks.py`, or a folder. Of a folder all `*.py` files are loaded, in order of
            name, except those that begin with an underscore. Several places are separated by commas; None means none.
        http_hosts: what `http.request` may call; None for no such handler.

    Files can import other files of their folder. Each is executed once; a later call sees changes only after
    `forget_modules`.

    Raises:
        HandlerError: a place does not exist or cannot be imported, a handler cannot be used, or two handlers have the
            same type.

    """
    by_type: dict[str, Handler] = {}
    for handler in filter(None, map(handler_of, _members(place, http_hosts))):
        if by_type.setdefault(handler.type, handler).function is not handler.function:
            raise HandlerError(f"two handlers have the type {handler.type}")
    return by_type


def forget_modules(place: str, keep: Collection[str]) -> None:
    """Forget the modules that loading `place` imported from its own folders, so that the next load reads them again.

    `keep` names the modules that were imported before the first load. Installed packages stay imported too: many of
    them cannot be imported twice.
    """
    folders = folders_of(place)
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if name not in keep and file and "site-packages" not in file and folders & set(Path(file).resolve().parents):
            del sys.modules[name]


def folders_of(place: str) -> set[Path]:
    """Return the folders of the files and modules that `place` names."""
    return {
        _folder(one if is_path(one) else getattr(sys.modules.get(one), "__file__", None) or ".")
        for one in _parts(place)
    }


def is_path(place: str) -> bool:
    """Return whether a place is a file or a folder, and not a module."""
    return place.endswith(".py") or "/" in place or Path(place).is_dir()


def _parts(place: str) -> list[str]:
    return [part for part in (part.strip() for part in place.split(",")) if part]


def _folder(place: str) -> Path:
    path = Path(place).resolve()
    return path if path.is_dir() else path.parent


def _members(place: str | None, http_hosts: HttpHosts | None) -> Iterator[object]:
    yield from built_in(http_hosts)
    for one in _parts(place or ""):
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
    spec = importlib.util.spec_from_file_location(file.stem if namesake is None else f"task_handlers_{file.stem}", file)
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
    except (Exception, SystemExit) as error:  # the user's module may raise anything; the error says so in one line
        raise HandlerError(f"{what} cannot be imported: {_where(error)}{type(error).__name__}: {error}") from error


def _where(error: BaseException) -> str:
    if isinstance(error, SyntaxError):
        return f"line {error.lineno}: "
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "importlib" not in frame.filename and frame.filename != __file__]
    return f"{Path(own[-1].filename).name}, line {own[-1].lineno}: " if own else ""


def _make_importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
