"""A PostgreSQL server of the tests' own."""

import contextlib
import itertools
import signal
import subprocess
import time
from pathlib import Path

from tests.lab.process import LabError, ProcessId, Server
from tests.lab.services.service import Service


class PostgreSQL(Service):
    """A server with one superuser, `buildflow`, who needs no password from loopback."""

    user = "postgres"  # it refuses to run as root

    def __init__(self, directory: Path, fsync: bool = False) -> None:
        """With `fsync` it is as durable and as slow as in earnest; without, made for tests.

        Either way nothing is lost when only the server, and not the whole host, is killed.
        """
        super().__init__(directory)
        self._fsync = fsync
        self._numbers = itertools.count(1)

    @property
    def url(self) -> str:
        """SQLAlchemy's URL of the database that is there from the start."""
        return self._url_of("postgres")

    def new_database(self) -> str:
        """Make an empty database and return its SQLAlchemy URL."""
        name = f"test{next(self._numbers)}"
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "buildflow", name)
        return self._url_of(name)

    def kill9(self) -> None:
        """Kill the server and wait for its children, which see to it themselves."""
        server = self._process()
        children = _children(server)
        server.kill9()
        deadline = time.monotonic() + 10
        while any(child.alive for child in children):
            if time.monotonic() > deadline:
                raise LabError("PostgreSQL's children outlive it")
            time.sleep(0.01)

    def _url_of(self, database: str) -> str:
        return f"postgresql+psycopg://buildflow@127.0.0.1:{self.port}/{database}"

    def _make_data(self) -> None:
        super()._make_data()
        self._run(
            "initdb", "--no-sync", "--auth=trust", "--username=buildflow", "--encoding=UTF8",
            "--locale=C.UTF-8", f"--pgdata={self.data}",
        )  # fmt: skip
        durable = "on" if self._fsync else "off"
        settings = {
            "listen_addresses": "'127.0.0.1'",
            "port": str(self.port),
            "unix_socket_directories": "''",
            "fsync": durable,
            "full_page_writes": durable,
            "max_connections": "400",
            "log_min_messages": "warning",
        }
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(f"{name} = {value}\n" for name, value in settings.items())

    def _process(self) -> Server:
        server = super()._process()
        server.stop_signal = signal.SIGINT  # do not wait for clients to go
        return server

    def _command(self) -> list[str]:
        return [str(_binaries() / "postgres"), "-D", str(self.data)]

    def _serves(self) -> bool:
        command = [str(_binaries() / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(command, check=False).returncode == 0

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(_binaries() / program), *arguments]
        if self._runs_as is not None:
            command = ["setpriv", "--reuid", self._runs_as, "--regid", self._runs_as,
                       "--clear-groups", "--", *command]  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=self.directory
        )
        if done.returncode:
            raise LabError(f"{program}: {done.stderr}")


def _binaries() -> Path:
    """The newest PostgreSQL that Debian has installed here."""
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)
    )
    if not installed:
        raise LabError("PostgreSQL is not installed: `make setup`")
    return installed[-1]


def _children(server: Server) -> list[ProcessId]:
    parent = server.pid
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                if int((entry / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                    found.append(ProcessId.of(int(entry.name)))
    return found
