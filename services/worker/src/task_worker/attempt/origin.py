"""Finds out where an exception comes from: its class, and the place of the handler's own code. Never raises itself."""

from __future__ import annotations

import contextlib
import sys
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, TracebackType

from task_contracts import limits, storable_text

_FRAMES_MAX = 5_000
"""How many frames are looked at, from the outermost: a handler may raise the limit of recursion."""
_WORKER = str(Path(__file__).parents[1])
_BUILTIN = str(Path(_WORKER) / "builtin")
_INSTALLED = ("site-packages", "dist-packages")


@dataclass(frozen=True, slots=True)
class Origin:
    """The class of an exception with its module, and module and function of its place; empty what cannot be told."""

    exception: str = ""
    frame: str = ""


NO_ORIGIN = Origin()
"""Of a failure without an exception."""


def origin_of(error: BaseException) -> Origin:
    """Return where an exception comes from.

    Its place is the innermost function of the handler's own code that it has passed: the libraries that this called
    come and go with their versions. Own code is what is neither the worker's, nor of the standard library, nor
    installed; of what is installed, the package of the handler itself is. Lines do not count: the place stays the same
    when something is written above it.
    """
    exception = frame = ""
    with contextlib.suppress(BaseException):  # classes and modules of users may answer with whatever they like
        exception = _storable(_class_name(error))
    with contextlib.suppress(BaseException):
        frame = _storable(_own_frame(error.__traceback__))
    return Origin(exception, frame)


def _class_name(error: BaseException) -> str:
    kind = type(error)
    return (
        kind.__qualname__ if kind.__module__ in {"builtins", "__main__"} else f"{kind.__module__}.{kind.__qualname__}"
    )


def _own_frame(traceback: TracebackType | None) -> str:
    handlers_package, found = None, ""
    for _ in range(_FRAMES_MAX):
        if traceback is None:
            break
        code, module = traceback.tb_frame.f_code, str(traceback.tb_frame.f_globals.get("__name__", ""))
        traceback = traceback.tb_next
        package = module.partition(".")[0]
        if _is_of_worker(code) or package in sys.stdlib_module_names:
            continue
        handlers_package = handlers_package or package
        if package == handlers_package or not _is_installed(code):
            found = f"{module} in {code.co_qualname}"
    return found


def _is_of_worker(code: CodeType) -> bool:
    return code.co_filename.startswith(_WORKER) and not code.co_filename.startswith(_BUILTIN)


def _is_installed(code: CodeType) -> bool:
    return any(folder in code.co_filename for folder in _INSTALLED)


def _storable(text: str) -> str:
    return storable_text(text[: 2 * limits.FAILURE_PART_CHARS], limits.FAILURE_PART_CHARS)
