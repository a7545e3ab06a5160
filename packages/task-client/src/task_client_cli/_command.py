"""Makes commands: each gets the options that all have, a session, and the exit code of what goes wrong."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from typing import Annotated, Any

import typer

from task_client_cli._exits import ExitCode, code_of, has_lines
from task_client_cli._output import Format, Output
from task_client_cli._session import Session, find_server
from task_client_cli._streams import ReaderGoneError

Command = Callable[..., "int | None"]

ServerOption = Annotated[
    str | None,
    typer.Option("--server", metavar="URL", help="The service, instead of TASK_SERVER or the context in use."),
]
ContextOption = Annotated[str | None, typer.Option("--context", metavar="NAME", help="The service of this context.")]
ApiKeyEnvOption = Annotated[
    str | None,
    typer.Option(
        "--api-key-env", metavar="VARIABLE", help="The variable that holds the key, instead of what the context says."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
JsonlOption = Annotated[bool, typer.Option("--jsonl", help="Print JSON, one object a line.")]

_SERVICE = (
    inspect.Parameter("server", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=ServerOption),
    inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=ContextOption),
    inspect.Parameter("api_key_env", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=ApiKeyEnvOption),
)
_FORMATS = (
    inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=JsonOption),
    inspect.Parameter("as_jsonl", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=JsonlOption),
)
_CONTEXT = inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)


def command(
    app: typer.Typer, name: str, *extra: inspect.Parameter, is_local: bool = False
) -> Callable[[Command], Command]:
    """Decorate a function as a command of `app`: `function(session, **options)` returns an exit code or None.

    `extra` are options beside those in its signature; they arrive as keywords. One that `is_local` is about no service:
    it gets an `Output` in place of the session, and has no option that names a service.
    """

    def add(function: Command) -> Command:
        own = [*inspect.signature(function, eval_str=True).parameters.values()][1:]
        parameters = [one for one in own if one.kind is not inspect.Parameter.VAR_KEYWORD]

        def run(ctx: typer.Context, **given: Any) -> None:
            is_json, is_jsonl = given.pop("as_json"), given.pop("as_jsonl")
            format_ = Format.JSON if is_json else Format.JSONL if is_jsonl else Format.TEXT
            at_the_front: dict[str, Any] = ctx.obj or {}
            out = Output(format_)
            if is_local:
                raise typer.Exit(ended(out, lambda: function(out, **given)))
            service = {name: given.pop(name) or at_the_front.get(name) for name in ("server", "context", "api_key_env")}
            raise typer.Exit(ended(out, lambda: _with_session(out, service, function, given)))

        every = [_CONTEXT, *parameters, *extra, *(() if is_local else _SERVICE), *_FORMATS]
        run.__signature__ = inspect.Signature(  # type: ignore[attr-defined] # what typer reads
            [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in every]
        )
        run.__annotations__ = {one.name: one.annotation for one in every}
        run.__doc__, run.__name__ = function.__doc__, function.__name__
        app.command(name)(run)
        return function

    return add


def _with_session(out: Output, service: dict[str, str | None], function: Command, given: dict[str, Any]) -> int | None:
    server = find_server(service["server"], service["context"], api_key_env=service["api_key_env"])
    session = Session(server, out)
    try:
        return function(session, **given)
    finally:
        session.close()


def ended(out: Output, run: Callable[[], int | None]) -> int:
    """Run a command, and return its exit code; what went wrong is said on stderr."""
    try:
        code = run()
        out.flush()
    except ReaderGoneError:
        return ExitCode.DONE
    except (KeyboardInterrupt, typer.Abort):
        out.say("stopped")
        return ExitCode.STOPPED
    except typer.Exit as early:
        return early.exit_code
    except Exception as error:  # noqa: BLE001 # the outermost: said with its traceback
        found = code_of(error)
        if found is ExitCode.CRASHED:
            out.say("".join(traceback.format_exception(error)), is_multiline=True)
        else:
            out.say(f"error: {error}", is_multiline=has_lines(error))
        return found
    return code or ExitCode.DONE
