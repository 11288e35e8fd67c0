"""Wait for boot: by power, by a line on the console, or by an address; always with a deadline.

Nova polls until RUNNING, for ever, and takes a guest that stops or crashes for one that is about to
(nova/virt/libvirt/driver.py: spawn, _wait_for_boot). Here each of these ends the wait at once.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from buildflow.drivers.protocols import ComputeDriver, Json
from buildflow.engine.step import Step
from buildflow.errors import DeadlineExceeded, GuestDied
from buildflow.states import power

POLL_S = 0.1
# QEMU stops a guest that panics before the hypervisor learns why it stands still
SETTLE_S = 1.0
# how much of the console a pattern is looked for in: a line may come in many pieces
WINDOW = 64 * 1024
_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\r")


class WaitForBoot(Step):
    """Provides nothing; fails when the guest does, with the last console lines."""

    no_undo: ClassVar[str] = "it only watches"

    def __init__(self, name: str, wait: str, timeout_s: float, **kwargs: Any) -> None:
        super().__init__(name, timeout_s=timeout_s + 5, **kwargs)
        self.mode = wait
        self.seconds = timeout_s

    def perform(self, host: str, guest: Json, network_info: list[Json]) -> None:
        """See the module."""
        compute: ComputeDriver = self.world.on(host)
        clock = self.run.clock
        self._text, self._offset = "", 0
        end = clock.monotonic() + self.seconds
        pattern = (
            re.compile(self.mode.removeprefix("console:"))
            if self.mode.startswith("console:")
            else None
        )
        grace_end = clock.monotonic() + self.run.settings.boot_grace_s
        while True:
            if pattern is not None:
                self._read(compute)
                if pattern.search(self._text):
                    return
            self._require_running(compute)
            now = clock.monotonic()
            if self.mode == "power" and now >= grace_end:
                return
            if self.mode == "address" and compute.addresses(self.run.id, network_info, self.pause):
                return
            if now >= end:
                raise DeadlineExceeded(self._awaited(), self.seconds, console=self._tail(compute))
            self.pause(min(POLL_S, end - now))

    def _read(self, compute: ComputeDriver) -> None:
        data, self._offset = compute.console(self.run.id, self._offset)
        if data:
            text = _ESCAPES.sub("", data.decode("utf-8", "replace"))
            self._text = (self._text + text)[-WINDOW:]

    def _tail(self, compute: ComputeDriver) -> list[str]:
        self._read(compute)
        return self._text.splitlines()[-20:]

    def _require_running(self, compute: ComputeDriver) -> None:
        state = self._state(compute)
        if state == power.PAUSED:
            self.pause(SETTLE_S)
            state = self._state(compute)
        if state == power.RUNNING:
            return
        self.run.report_power(state, self.name)
        raise GuestDied(f"the guest {_DIED[state]} while it booted", console=self._tail(compute))

    def _state(self, compute: ComputeDriver) -> int:
        domain = compute.find_domain(self.run.id)
        return power.NOSTATE if domain is None else domain.power_state

    def _awaited(self) -> str:
        if self.mode.startswith("console:"):
            return f"console line matching {self.mode.removeprefix('console:')!r}"
        return {"power": "running guest", "address": "address of the guest"}[self.mode]


_DIED = {
    power.NOSTATE: "disappeared from the hypervisor",
    power.PAUSED: "was paused",
    power.SHUTDOWN: "powered off",
    power.CRASHED: "crashed",
    power.SUSPENDED: "suspended itself",
}
