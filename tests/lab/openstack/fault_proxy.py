"""Stands before the services and makes them fail on request: `python -m ...fault_proxy BASE_PORT`.

Everything is passed on as it comes, one request a connection. Which requests fail, how and how
often is told over the control port, one JSON object a line; see `faults.Faults`, its client.
"""

import asyncio
import contextlib
import json
import re
import sys
import time
from collections import deque
from dataclasses import dataclass
from typing import Any

from tests.lab.openstack.configuration import SERVICES, Ports
from tests.lab.openstack.faults import Fault

_PIECE = 64 * 1024
_BODY_KEPT = 64 * 1024
_REQUESTS_KEPT = 20_000


@dataclass
class _Armed:
    """A fault that is still to come: how many requests it lets pass and how many it hits."""

    fault: Fault
    skip: int
    times: int


@dataclass
class _Request:
    service: str
    method: str
    path: str
    head: bytes
    length: int
    chunked: bool
    body: bytes  # as far as it was read


class Proxy:
    """All services of one lab."""

    def __init__(self, ports: Ports) -> None:
        """Nothing fails at first."""
        self._ports = ports
        self._armed: list[_Armed] = []
        self._seen: deque[dict[str, Any]] = deque(maxlen=_REQUESTS_KEPT)

    async def serve(self) -> None:
        """Listen until the process is ended."""
        listening = [await asyncio.start_server(self._control, "127.0.0.1", self._ports.control)]
        for service in SERVICES:

            async def handle(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, to: str = service
            ) -> None:
                await self._connection(to, reader, writer)

            port = self._ports.front(service)
            listening.append(await asyncio.start_server(handle, "127.0.0.1", port))
        await asyncio.gather(*(server.serve_forever() for server in listening))

    async def _control(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            order = json.loads(line)
            answer: Any = None
            if order["do"] == "add":
                fault = Fault(**order["fault"])
                self._armed.append(_Armed(fault, fault.skip, fault.times))
            elif order["do"] == "clear":
                self._armed.clear()
            elif order["do"] == "forget":
                self._seen.clear()
            elif order["do"] == "pending":
                answer = sum(armed.times != 0 for armed in self._armed)
            elif order["do"] == "requests":
                answer = list(self._seen)
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def _connection(
        self, service: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            request = await _read_request(service, reader)
            seen = {
                "service": service,
                "method": request.method,
                "path": request.path,
                "at": time.time(),
                "status": None,
                "fault": None,
            }
            self._seen.append(seen)
            fault = self._strike(request)
            seen["fault"] = fault.action if fault else None
            if fault and fault.action in {"delay", "hang"}:
                await asyncio.sleep(fault.seconds if fault.action == "delay" else 3600)
            if fault and fault.action == "drop":
                _reset(writer)
            elif fault and fault.action == "status":
                seen["status"] = fault.status
                writer.write(_failure(fault.status))
            else:
                silent = fault is not None and fault.action in {"drop-after", "status-after"}
                seen["status"] = await self._pass_on(request, reader, None if silent else writer)
                if fault and fault.action == "drop-after":
                    _reset(writer)
                elif fault and fault.action == "status-after":
                    writer.write(_failure(fault.status))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client or the service went away: the other side sees it too
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _strike(self, request: _Request) -> Fault | None:
        """The fault that this request meets, counted down."""
        for armed in self._armed:
            fault = armed.fault
            if armed.times == 0 or fault.service not in ("", request.service):
                continue
            if fault.method not in ("", request.method):
                continue
            if not re.search(fault.path, request.path):
                continue
            if fault.body and not re.search(fault.body, request.body.decode(errors="replace")):
                continue
            if armed.skip > 0:
                armed.skip -= 1
                continue
            if armed.times > 0:
                armed.times -= 1
            return fault
        return None

    async def _pass_on(
        self, request: _Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None
    ) -> int | None:
        """Send the request to the service, its answer to the client, and return its status."""
        port = self._ports.direct(request.service)
        try:
            up_reader, up_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if writer is not None:
                _reset(writer)  # as a service that is down
            return None
        try:
            up_writer.write(request.head + request.body)
            sending = asyncio.create_task(_send_rest(request, reader, up_writer))
            status = None
            while piece := await up_reader.read(_PIECE):
                if status is None:
                    status = int(piece.split(b" ", 2)[1])
                if writer is not None:
                    writer.write(piece)
                    await writer.drain()
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, asyncio.IncompleteReadError):
                await sending
            return status
        finally:
            up_writer.close()


async def _read_request(service: str, reader: asyncio.StreamReader) -> _Request:
    """Read the head, made to ask for one request a connection, and the body if it is small."""
    raw = await reader.readuntil(b"\r\n\r\n")
    first, *lines = raw[:-4].split(b"\r\n")
    method, path, _ = first.decode("latin-1").split(" ", 2)
    length, chunked, kept = 0, False, []
    for line in lines:
        name, _, value = line.partition(b":")
        lower = name.lower()
        if lower in {b"connection", b"expect"}:
            continue
        if lower == b"content-length":
            length = int(value)
        if lower == b"transfer-encoding":
            chunked = b"chunked" in value.lower()
        kept.append(line)
    head = b"\r\n".join([first, *kept, b"Connection: close", b"", b""])
    body = b""
    if not chunked and length <= _BODY_KEPT:
        body = await reader.readexactly(length)
    return _Request(service, method, path, head, length, chunked, body)


async def _send_rest(
    request: _Request, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Pass on a body that was too large to keep, or came in chunks."""
    if request.chunked:
        # The client ends its body by itself; what it sends is passed on as it is.
        while piece := await reader.read(_PIECE):
            writer.write(piece)
            await writer.drain()
        return
    left = request.length - len(request.body)
    while left > 0 and (piece := await reader.read(min(left, _PIECE))):
        left -= len(piece)
        writer.write(piece)
        await writer.drain()


def _failure(status: int) -> bytes:
    body = json.dumps({"error": {"code": status, "message": "injected by the lab"}}).encode()
    return (
        f"HTTP/1.1 {status} Injected\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode() + body


def _reset(writer: asyncio.StreamWriter) -> None:
    """Break the connection off without an answer."""
    writer.transport.abort()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Proxy(Ports(int(sys.argv[1]))).serve())
