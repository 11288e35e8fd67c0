"""What can be made to go wrong between a client and the services, and the orders for it."""

import json
import socket
from dataclasses import asdict, dataclass
from typing import Any, Literal

Action = Literal["status", "status-after", "drop", "drop-after", "delay", "hang"]


@dataclass(frozen=True)
class Fault:
    """Which requests fail, how, and how often.

    `status` answers with that HTTP status instead of asking the service; `status-after` lets the
    service act first. `drop` breaks the connection off; `drop-after` does so once the service has
    acted: the answer is lost. `delay` waits before passing the request on; `hang` never answers.
    """

    service: str = ""  # keystone, cinder, neutron, glance, or any
    method: str = ""  # any
    path: str = ""  # a regular expression, searched in path and query
    body: str = ""  # a regular expression, searched in the body up to 64 KiB
    action: Action = "status"
    status: int = 500
    seconds: float = 0
    skip: int = 0  # so many matching requests pass first
    times: int = 1  # so many are hit; -1: all


@dataclass(frozen=True)
class SeenRequest:
    """A request that a client made; `status` is None if it got no answer from the service."""

    service: str
    method: str
    path: str
    at: float
    status: int | None
    fault: str | None


class Faults:
    """Orders to one lab's fault proxy."""

    def __init__(self, control_port: int) -> None:
        """Connect anew for each order, so that this may be used from any thread."""
        self._port = control_port

    def add(self, fault: Fault) -> None:
        """Arm a fault; those armed earlier go first."""
        self._order({"do": "add", "fault": asdict(fault)})

    def clear(self) -> None:
        """Disarm all."""
        self._order({"do": "clear"})

    def pending(self) -> int:
        """How many armed faults have not struck, or not yet as often as they may."""
        return int(self._order({"do": "pending"}))

    def requests(self) -> list[SeenRequest]:
        """What clients asked the services for since the start or the last `forget`."""
        return [SeenRequest(**seen) for seen in self._order({"do": "requests"})]

    def forget(self) -> None:
        """Forget the requests seen so far."""
        self._order({"do": "forget"})

    def _order(self, order: dict[str, Any]) -> Any:
        with socket.create_connection(("127.0.0.1", self._port), timeout=10) as connection:
            connection.sendall(json.dumps(order).encode() + b"\n")
            with connection.makefile("r") as answers:
                return json.loads(answers.readline())
