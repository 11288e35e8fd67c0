"""`buildflow doctor`: what this host can do, and the cure for what it can't."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import typer

from buildflow.cli.invocation import invocation_of
from buildflow.cli.outcome import COMPLETE, UNUSABLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildflow.drivers.doctor import CheckResult


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("doctor")(doctor)


def doctor(ctx: typer.Context) -> int:
    """Say what this host can do, and the cure for what it can't.

    Exit code 0 when machines can be built here, 4 when something stands in the way.
    """
    from buildflow.drivers.doctor import BAD, run_checks

    invocation = invocation_of(ctx)
    results = run_checks(invocation.settings)
    if invocation.json:
        invocation.document([_row(result) for result in results])
    else:
        _print(results)
    return UNUSABLE if any(result.status == BAD for result in results) else COMPLETE


def _row(result: CheckResult) -> dict[str, str]:
    return {
        "name": result.name, "status": result.status, "detail": result.detail, "cure": result.cure,
    }  # fmt: skip


# status -> (sign, style); the word stands beside it, for no meaning is by colour alone
_SIGNS: Final = {"ok": ("✓", "green"), "warn": ("!", "yellow"), "bad": ("✗", "bold red")}


def _print(results: Sequence[CheckResult]) -> None:
    from rich.text import Text

    from buildflow.cli.terminal import Terminal

    terminal = Terminal(soft_wrap=True)
    width = max((len(result.name) for result in results), default=0)
    for result in results:
        sign, style = _SIGNS[result.status]
        terminal.print(
            Text.assemble(
                (f"{sign} {result.status:<4} ", style), f"{result.name:<{width}}  ", result.detail
            )
        )
        if result.cure:
            terminal.print(Text(f"{'':{width + 9}}cure: {result.cure}", style))
