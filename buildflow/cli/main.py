"""`buildflow`: from arguments to an exit code, and from any error to one line.

Nothing that a library warns of or logs reaches the terminal: what the user must know, we say.
"""

from __future__ import annotations

import logging
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from buildflow.cli.conceal import conceal
from buildflow.cli.interruption import Interrupted, Interruption
from buildflow.cli.options import first_word, hoist
from buildflow.cli.streams import let_go_of_closed_streams
from buildflow.redact import without_credentials

# sysexits.h: EX_SOFTWARE. A defect of ours says nothing of what was done: none of the other codes
DEFECT: Final = 70


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry one command line out; returns its exit code."""
    _quiet_libraries()
    if arguments is None:
        conceal(sys.argv[1:])
    words = hoist(sys.argv[1:] if arguments is None else arguments)
    try:
        # until a verb has one of its own, and after
        with Interruption(lambda _message: None, whole_process=arguments is None):
            return _carry_out(words)
    except Interrupted:
        return _tell("--json" in words, "Interrupted", "interrupted; nothing was done", 130)
    finally:
        let_go_of_closed_streams()


def _carry_out(words: list[str]) -> int:
    json_wanted = "--json" in words
    try:
        return _call(words)
    except BrokenPipeError:
        return 0  # whoever reads us has read enough
    except Exception as error:
        return _report(error, json_wanted)


def _quiet_libraries() -> None:
    if not sys.warnoptions:
        warnings.simplefilter("ignore")
    # without a handler of its own Python prints what is logged as a warning or worse
    logging.getLogger().addHandler(logging.NullHandler())
    # oslo looks for eventlet, which nobody here uses, and importing it takes as long as all of ours
    sys.modules.setdefault("eventlet", None)  # type: ignore[arg-type]


def _call(words: list[str]) -> int:
    from buildflow.cli.application import make_application

    completing = "_BUILDFLOW_COMPLETE" in os.environ
    app = make_application(None if completing else first_word(words) or "")
    result: Any = app(args=words, prog_name="buildflow", standalone_mode=False)
    return result if isinstance(result, int) else 0


def _report(error: Exception, json_wanted: bool) -> int:
    from buildflow.errors import BuildflowError

    if isinstance(error, BuildflowError):
        return _tell(json_wanted, type(error).__name__, error.summary, error.exit_code)
    import typer

    # typer does not name the base of its usage errors; BadParameter is one of them
    if isinstance(error, typer.BadParameter.__mro__[1]):
        return _usage(error, json_wanted)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return _tell(json_wanted, type(error).__name__, f"{where}{error.strerror or error}", 4)
    return _tell(json_wanted, type(error).__name__, _defect(error), DEFECT)


def _usage(error: Any, json_wanted: bool) -> int:
    message = " ".join(str(error.format_message()).split())
    if not message:  # `buildflow diagram` alone: typer has printed the help
        return 2
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "buildflow"
    return _tell(json_wanted, "BadInput", f"{message} (see `{where} --help`)", 2)


def _defect(error: Exception) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = ""
    if trace is not None:
        code = trace.tb_frame.f_code
        place = f" at {code.co_filename}:{trace.tb_lineno}"
    text = " ".join(str(error).split())
    return (
        f"this is a defect in buildflow: {type(error).__name__}: {text}{place};"
        " `buildflow list` shows what became of the build, `buildflow resume` finishes it"
    )


def _tell(json_wanted: bool, kind: str, message: str, code: int) -> int:
    message = without_credentials(message)
    with suppress(OSError):
        if json_wanted:
            import json

            error = {"error": {"type": kind, "message": message, "exit_code": code}}
            print(json.dumps(error, indent=2, ensure_ascii=False), flush=True)
    with suppress(OSError):
        print(f"buildflow: {message}", file=sys.stderr, flush=True)
    return code
