"""Flows of plain TaskFlow tasks: a careful one, and one of the shape of TaskFlow's boot example."""

from __future__ import annotations

from typing import Any

from taskflow import task
from taskflow.patterns import graph_flow, linear_flow


class Bucket:
    """Things by name."""

    def __init__(self) -> None:
        self.things: list[str] = []

    def put(self, name: str) -> None:
        """Make it."""
        if name not in self.things:
            self.things.append(name)

    def drop(self, name: str) -> None:
        """Remove it, if it is there."""
        if name in self.things:
            self.things.remove(name)


class Make(task.Task):
    """Makes a thing by its name, and drops it again whatever became of the making."""

    def __init__(self, world: Any, thing: str) -> None:
        super().__init__(f"make {thing}")
        self.world, self.thing = world, thing

    def execute(self) -> None:
        self.world.put(self.thing)

    def revert(self, **kwargs: Any) -> None:
        self.world.drop(self.thing)


def careful_flow(world: Any) -> Any:
    """Three things, each with its undo."""
    return linear_flow.Flow("careful").add(*(Make(world, thing) for thing in ("a", "b", "c")))


class Cloud:
    """What a small cloud holds."""

    def __init__(self) -> None:
        self.addresses: list[str] = []
        self.volumes: list[str] = []
        self.guests: list[str] = []

    def take_address(self) -> str:
        """An address of the pool."""
        self.addresses.append(f"10.0.0.{len(self.addresses) + 1}")
        return self.addresses[-1]

    def give_address(self, address: str) -> None:
        """Back into the pool."""
        self.addresses.remove(address)

    def make_volume(self) -> str:
        """A volume with a name of its own."""
        self.volumes.append(f"volume-{len(self.volumes) + 1}")
        return self.volumes[-1]

    def start_guest(self, address: str, volume: str) -> str:
        """A guest that runs."""
        self.guests.append(f"guest-{len(self.guests) + 1}")
        return self.guests[-1]

    def destroy_guest(self, guest: str) -> None:
        """It is gone."""
        self.guests.remove(guest)


class AllocateAddress(task.Task):
    """Undoes itself when it has a result to undo."""

    default_provides = "address"

    def __init__(self, cloud: Any) -> None:
        super().__init__("allocate address")
        self.cloud = cloud

    def execute(self) -> Any:
        return self.cloud.take_address()

    def revert(self, result: Any, **kwargs: Any) -> None:
        if isinstance(result, str):
            self.cloud.give_address(result)


class AllocateVolume(task.Task):
    """Makes a volume, and its revert only says that it would."""

    default_provides = "volume"

    def __init__(self, cloud: Any) -> None:
        super().__init__("allocate volume")
        self.cloud = cloud

    def execute(self) -> Any:
        return self.cloud.make_volume()


class BootGuest(task.Task):
    """Starts a guest with what the others made."""

    def __init__(self, cloud: Any) -> None:
        super().__init__("boot guest")
        self.cloud = cloud

    def execute(self, address: str, volume: str) -> Any:
        return self.cloud.start_guest(address, volume)

    def revert(self, result: Any, **kwargs: Any) -> None:
        if isinstance(result, str):
            self.cloud.destroy_guest(result)


class Announce(task.Task):
    """The last step, which only says that it is done."""

    def __init__(self) -> None:
        super().__init__("announce")

    def execute(self) -> None:
        """Nothing."""


def boot_miniature(world: Any) -> Any:
    """Of the shape of TaskFlow's published boot example, written anew."""
    resources = graph_flow.Flow("resources").add(AllocateAddress(world), AllocateVolume(world))
    return linear_flow.Flow("boot").add(resources, BootGuest(world), Announce())
