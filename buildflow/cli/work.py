"""Work on builds that are already in the store, shown as it happens: delete, resume, cleanup."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from buildflow.cli.interruption import Interruption

if TYPE_CHECKING:
    from buildflow.api import VmEngine
    from buildflow.cli.invocation import Invocation
    from buildflow.cli.progress.follow import Progress
    from buildflow.engine.core import Handle
    from buildflow.engine.store import Row


class Work:
    """An engine, what shows its progress, and what a signal does to it."""

    def __init__(self, engine: VmEngine, progress: Progress, interruption: Interruption) -> None:
        self.engine, self.progress, self.interruption = engine, progress, interruption

    def follow(self, row: Row, flow: Any, words: Mapping[str, str] | None = None) -> None:
        """Show a build; `flow` nests its steps, `words` says what a status is called here."""
        steps = self.engine.show(row["id"])["steps"]
        name = row["name"] or row["id"][:8]
        self.progress.follow(row["id"], name, flow, steps=steps, words=words)

    def wait(self, handles: Sequence[Handle]) -> tuple[list[Row], list[str]]:
        """The builds as shown once they have ended, and an error for each that could not be."""
        from buildflow.errors import BuildflowError

        shown, errors = [], []
        for handle in handles:
            try:
                shown.append(handle.wait())
            except BuildflowError as error:
                errors.append(f"build {handle.id}: {error.summary}")
                shown.append(self.engine.show(handle.id))
            self.progress.ended(handle.id, shown[-1]["status"])
        return shown, errors


@contextmanager
def working(invocation: Invocation, **options: Any) -> Iterator[Work]:
    """Open all three; a signal ends the process until the work says otherwise."""
    from buildflow.api import VmEngine, open_world_of
    from buildflow.cli.progress.follow import Progress

    with (
        Progress(quiet=invocation.quiet) as progress,
        Interruption(progress.say) as interruption,
        VmEngine(
            invocation.settings,
            open_world=partial(open_world_of, say=progress.say),
            listener=progress.listen,
            **options,
        ) as engine,
    ):
        yield Work(engine, progress, interruption)


def flow_of(row: Row) -> Any:
    """The flow that made a build."""
    from buildflow.engine.definitions import import_factory

    return import_factory(row["flow"])(**row["inputs"])
