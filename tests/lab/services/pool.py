"""One server of each kind for a whole test run."""

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from tests.lab.services.service import Service

AnyService = TypeVar("AnyService", bound=Service)


class ServicePool:
    """Starts a server when it is first asked for, and again if a test has killed it."""

    def __init__(self, directory: Path) -> None:
        """Give each kind a directory below this one."""
        self._directory = directory
        self._running: dict[type[Service], Service] = {}
        self._stack = ExitStack()

    def get(self, kind: type[AnyService]) -> AnyService:
        """The running server of this kind."""
        service = self._running.get(kind)
        if service is None:
            service = kind(self._directory / kind.__name__.lower())
            self._running[kind] = service
            self._stack.callback(service.stop)
        if not service.alive:
            service.start()
        assert isinstance(service, kind)
        return service

    def __enter__(self) -> Self:
        """Nothing runs yet."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop all that were started."""
        self._stack.close()
