"""Where a picture goes, and the build that it is of."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from buildflow.errors import BadInput

if TYPE_CHECKING:
    from buildflow.cli.invocation import Invocation

# the ending of a file -> the format that it asks for
_ENDINGS: Final = {
    ".txt": "text", ".mmd": "mermaid", ".mermaid": "mermaid", ".dot": "dot", ".gv": "dot",
    ".svg": "svg", ".png": "png", ".json": "json",
}  # fmt: skip


def format_of(invocation: Invocation, wanted: str | None, output: Path | None) -> str:
    """The format: as asked for, else by the file's ending, else text. `--json` asks for json."""
    if invocation.json and output is None:
        if wanted not in (None, "json"):
            raise BadInput(f"--json and --format {wanted} contradict each other")
        return "json"
    if wanted is not None:
        return wanted
    return _ENDINGS.get(output.suffix.lower(), "text") if output is not None else "text"


def build_of(invocation: Invocation, name: str | None) -> dict[str, Any] | None:
    """The dict of a build with its history, None when none is named. Reads the store alone."""
    if name is None:
        return None
    from buildflow.engine.show import as_shown, history_of

    with invocation.open_store() as store:
        shown = as_shown(store, store.find(name))
        return {**shown, "history": history_of(store, shown["id"])}


def write(invocation: Invocation, data: bytes, output: Path | None, format: str) -> None:
    """To the file, or to stdout; with `--json` and a file the document names the file."""
    if output is None:
        if format == "png" and sys.stdout.isatty():
            raise BadInput("a terminal shows no png: give a file, as in -o picture.png")
        with suppress(BrokenPipeError):  # whoever reads it has read enough
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        return
    from buildflow.diagrams import save

    save(data, output)
    if invocation.json:
        invocation.document({"file": str(output), "format": format, "bytes": len(data)})
