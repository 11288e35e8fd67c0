"""What the failure-injection kit finds in flows of plain TaskFlow tasks.

    cd examples
    buildflow faults run --flow faults_taskflow_boot:published --world faults_taskflow_boot:Cloud
    buildflow faults run --flow faults_taskflow_boot:careful --world faults_taskflow_boot:Cloud

`published` is the boot example that TaskFlow ships (taskflow/examples/resume_vm_boot.py, "a
miniature version of what nova does while booting a vm"), its own flow and its own tasks. They only
print what they would do, so each is given a world in which what it says it has made is there:
images, addresses, settings, volumes and a guest. `careful` makes the same things, in the same
order, from tasks whose author has thought of failures: each knows the names of what it makes
beforehand, asks before it makes, and takes back what is there.

TaskFlow runs both, on its own engine with its own logbook: nothing of buildflow's engine is in it.
"""

from __future__ import annotations

import contextlib
import functools
import io
import random
import runpy
import sys
from collections.abc import Callable, Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from taskflow import task
from taskflow.patterns import linear_flow

EXAMPLE = "resume_vm_boot.py"


class Cloud:
    """What exists outside. Each public method is a fault point."""

    def __init__(self) -> None:
        self.images: list[str] = []
        self.addresses: list[str] = []
        self.settings: list[str] = []
        self.volumes: list[str] = []
        self.guests: list[str] = []

    def make(self, kind: str, name: str) -> None:
        """One more thing of a kind, under a name that others may have as well."""
        getattr(self, kind).append(name)

    def has(self, kind: str, name: str) -> bool:
        """Whether there is one of that name."""
        return name in getattr(self, kind)

    def remove(self, kind: str, name: str) -> None:
        """One of that name goes."""
        getattr(self, kind).remove(name)


# --- the published example -----------------------------------------------------------------------


# what each of its tasks says it has made, by the class of the task: the kind, and the names as they
# follow from what the task was given and what it returned
Made = Callable[[dict[str, Any], Any], Iterable[str]]
SAYS: dict[str, tuple[str, Made]] = {
    "DownloadImages": ("images", lambda given, result: result),
    "AllocateIP": ("addresses", lambda given, result: result),
    "WriteNetworkSettings": (
        "settings",
        lambda given, result: [
            f"{path}: {setting.splitlines()[0]}"
            for path in given["download_paths"]
            for setting in given["network_settings"]
        ],
    ),
    "AllocateVolumes": ("volumes", lambda given, result: result),
    "BootVM": ("guests", lambda given, result: [given["vm_spec"]["type"]]),
}


@functools.cache
def create_flow() -> Callable[[], Any]:
    """The published example's own factory. Its file is a script, so that it is run once for it."""
    package = find_spec("taskflow")
    assert package is not None
    assert package.origin is not None
    file = Path(package.origin).parent / "examples" / EXAMPLE
    path = list(sys.path)
    try:
        with _alone():
            found: Callable[[], Any] = runpy.run_path(str(file))["create_flow"]
    finally:
        sys.path[:] = path
    return found


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """It prints, draws its addresses by lot, and sleeps where its command has an argument: none of
    that here, and the same addresses in each run.
    """
    words, sys.argv = sys.argv, [EXAMPLE]
    random.seed(7)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        sys.argv = words


def published(world: Any) -> Any:
    """The published flow, acting on `world`."""
    flow = create_flow()()
    for atom, _ in flow.iter_nodes():
        _give_world(atom, world)
    return flow


def _give_world(node: Any, world: Any) -> None:
    if hasattr(node, "iter_nodes"):
        for inner, _ in node.iter_nodes():
            _give_world(inner, world)
        return
    execute = node.execute

    @functools.wraps(execute)
    def execute_there(**given: Any) -> Any:
        with _alone():
            result = execute(**given)
        kind, names = SAYS.get(type(node).__name__, ("", lambda given, result: ()))
        for name in names(given, result):
            world.make(kind, name)
        return result

    node.execute = execute_there


# --- a careful one -------------------------------------------------------------------------------


class Have(task.Task):  # type: ignore[misc]
    """Some things of one kind: asks before it makes, and takes back whatever is there."""

    def __init__(self, world: Any, kind: str, *names: str) -> None:
        super().__init__(f"have {kind}")
        self._world, self._kind, self._names = world, kind, names

    def execute(self) -> None:
        """Make what is not there."""
        for name in self._names:
            if not self._world.has(self._kind, name):
                self._world.make(self._kind, name)

    def revert(self, **_: Any) -> None:
        """Take back what is there, last made first. It does not matter how far it had come."""
        for name in reversed(self._names):
            if self._world.has(self._kind, name):
                self._world.remove(self._kind, name)


class Announce(task.Task):  # type: ignore[misc]
    """Says that it is done."""

    def execute(self) -> None:
        """Nothing that could be left."""


def careful(world: Any) -> Any:
    """The same machine."""
    return linear_flow.Flow("careful boot").add(
        Have(world, "images", "vm-disk-0", "vm-disk-1"),
        Have(world, "addresses", "192.168.0.7"),
        Have(world, "settings", "vm-disk-0: eth0", "vm-disk-1: eth0"),
        Have(world, "volumes", "vm-vda1", "vm-vda2", "vm-vda3"),
        Have(world, "guests", "vm"),
        Announce("announce"),
    )
