"""Every verb: the module that registers it, and its line in `--help`. Data only.

A verb whose module is not there is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Verb:
    """One verb. `group` is the heading under which `--help` lists it."""

    name: str
    module: str
    summary: str
    group: str


_BUILDS, _AFTER, _SEE, _FAR = "Build", "Put right", "See and prove", "Many machines"

VERBS: Final[tuple[Verb, ...]] = (
    Verb("build", "buildflow.cli.build", "Build a virtual machine and show it happening.", _BUILDS),
    Verb("list", "buildflow.cli.inspect", "List builds, the newest first.", _BUILDS),
    Verb("show", "buildflow.cli.inspect", "Show one build: states, steps, effects.", _BUILDS),
    Verb("history", "buildflow.cli.inspect", "Show the transitions of one build.", _BUILDS),
    Verb("delete", "buildflow.cli.delete", "Delete a machine and all that it has.", _BUILDS),
    Verb("resume", "buildflow.cli.recover", "Go on with builds whose process died.", _AFTER),
    Verb("cancel", "buildflow.cli.recover", "Stop a running build and roll it back.", _AFTER),
    Verb("cleanup", "buildflow.cli.recover", "Finish what a rollback could not undo.", _AFTER),
    Verb("gc", "buildflow.cli.recover", "Compare the world with the store, both ways.", _AFTER),
    Verb("doctor", "buildflow.cli.doctor", "Say what this host can do, and the cures.", _AFTER),
    Verb("diagram", "buildflow.cli.diagram", "Draw the flow, the states, a build's run.", _SEE),
    Verb("report", "buildflow.cli.report", "Write one build as a web page.", _SEE),
    Verb("verify", "buildflow.faults.cli", "Check states and flows against each other.", _SEE),
    Verb("faults", "buildflow.faults.cli", "Fail a build in every way there is.", _SEE),
    Verb("submit", "buildflow.distributed.cli", "Post a build for any conductor to take.", _FAR),
    Verb("conductor", "buildflow.distributed.cli", "Take builds from a jobboard.", _FAR),
    Verb("hosts", "buildflow.distributed.cli", "List hosts and the room they have.", _FAR),
    Verb("jobs", "buildflow.distributed.cli", "List the jobs on a jobboard.", _FAR),
)
