"""What the common options say: the settings, whether JSON is wanted, and where messages go."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from buildflow.config import Settings

if TYPE_CHECKING:
    import typer

    from buildflow.api import VmEngine
    from buildflow.engine.store import Store


@dataclass(frozen=True, slots=True)
class Invocation:
    """One call of the command line. A verb finds it in `ctx.obj`.

    `json` asks for one JSON document on stdout; `quiet` for no progress.
    """

    settings: Settings
    json: bool = False
    quiet: bool = False

    def say(self, message: str) -> None:
        """One line for the user, on stderr."""
        with suppress(OSError):
            # in one piece: several threads may say something at once
            print(f"{message}\n", end="", file=sys.stderr, flush=True)

    @contextmanager
    def waiting(self, for_what: str) -> Iterator[None]:
        """Show on a terminal what is awaited, for as long as it takes."""
        if self.quiet or not sys.stderr.isatty():
            yield
            return
        from rich.text import Text

        from buildflow.cli.terminal import Terminal

        with Terminal(stderr=True).status(Text(for_what)):
            yield

    def document(self, value: Any) -> None:
        """The one JSON document of this call. A reader that has gone does not change its end."""
        with suppress(BrokenPipeError):
            print(json.dumps(value, indent=2, ensure_ascii=False), flush=True)

    @contextmanager
    def open_store(self) -> Iterator[Store]:
        """The store alone, for verbs that only look: no flow, no driver, no hypervisor.

        Raises StoreError when it can't be opened.
        """
        from buildflow.engine.store import Store

        store = Store(self.settings.store_url)
        try:
            yield store
        finally:
            store.close()

    def open_engine(self, **options: Any) -> VmEngine:
        """The engine of these settings, whose drivers tell the user when they have to wait.

        Raises StoreError when the store can't be opened.
        """
        from functools import partial

        from buildflow.api import VmEngine, open_world_of

        say: Callable[[str], None] = self.say
        return VmEngine(self.settings, open_world=partial(open_world_of, say=say), **options)


def invocation_of(ctx: typer.Context) -> Invocation:
    """The invocation that a verb was called in."""
    found = ctx.find_object(Invocation)
    assert found is not None, "the application's callback makes it"
    return found
