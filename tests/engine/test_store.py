"""A store that fails: a clear error, exit code 4, and nothing lost."""

from __future__ import annotations

import os
import pwd
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from threading import Timer
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, inspect, text

from buildflow.config import Settings
from buildflow.engine import migrations
from buildflow.engine.core import Engine
from buildflow.engine.journal import Unit
from buildflow.engine.schema import metadata
from buildflow.engine.store import Store
from buildflow.errors import Conflict, NotFound, StaleOwner, StoreError
from tests.crash.forks import KILLED, in_child
from tests.engine import files
from tests.lab.directories import open_directory


def complete_builds(home: Path, count: int = 3) -> list[str]:
    """A store with complete builds, closed."""
    with Engine(Settings(home=home), home / "files") as engine:
        return [engine.run(files.none).wait()["id"] for _ in range(count)]


def told(home: Path, *verb: str) -> subprocess.CompletedProcess[str]:
    """What the command line says about this home."""
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "buildflow", "--home", str(home), *verb],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def is_one_clear_line(done: subprocess.CompletedProcess[str], *words: str) -> bool:
    """Exit code 4, and one line on stderr that says it."""
    assert done.returncode == 4, (done.returncode, done.stderr)
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, lines
    return all(word in lines[0] for word in words)


# --- what is no store, or no longer one -------------------------------------------------------


def test_another_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "buildflow.sqlite").write_bytes(b"this is no database, " * 100)
    with pytest.raises(StoreError, match="not a buildflow store"):
        Store(f"sqlite:///{tmp_path / 'buildflow.sqlite'}")
    assert is_one_clear_line(told(tmp_path, "list"), "not a buildflow store")
    assert (tmp_path / "buildflow.sqlite").read_bytes().startswith(b"this is no database")


@pytest.mark.parametrize("damage", ["truncated", "scribbled"])
def test_a_damaged_database(tmp_path: Path, folder: Path, damage: str) -> None:
    complete_builds(tmp_path)
    path = tmp_path / "buildflow.sqlite"
    size = path.stat().st_size
    if damage == "truncated":
        os.truncate(path, size // 2)
    else:
        with path.open("r+b") as handle:
            handle.seek(4096)
            handle.write(os.urandom(size - 4096))
    before = path.read_bytes()
    done = told(tmp_path, "list")
    assert is_one_clear_line(done, "store")
    assert any(word in done.stderr for word in ("damaged", "not a buildflow store")), done.stderr
    assert path.read_bytes() == before, "it is left as it is for whoever mends it"


def test_a_newer_store_is_refused(tmp_path: Path, folder: Path) -> None:
    complete_builds(tmp_path, 1)
    with sqlite3.connect(tmp_path / "buildflow.sqlite") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreError, match="newer buildflow"):
        Store(f"sqlite:///{tmp_path / 'buildflow.sqlite'}")


# --- what can't be written ----------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_folder_that_is_read_only() -> None:
    nobody = pwd.getpwnam("nobody")
    with open_directory() as home:
        (home / "files").mkdir()
        builds = complete_builds(home)

        def body() -> str:
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
            try:
                with Engine(Settings(home=home), home / "files") as engine:
                    engine.run(files.none)
            except StoreError as error:
                return error.summary
            return "it was written"

        assert "read-only" in in_child(body) or "may be written" in in_child(body)
        with Engine(Settings(home=home), home / "files") as engine:
            assert [row["id"] for row in engine.list()] == builds[::-1]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_a_folder_that_can_not_be_made() -> None:
    nobody = pwd.getpwnam("nobody")
    with open_directory() as home:

        def body() -> str:
            os.setgid(nobody.pw_gid)
            os.setuid(nobody.pw_uid)
            try:
                Store(f"sqlite:///{home / 'deep' / 'buildflow.sqlite'}")
            except StoreError as error:
                return error.summary
            return "it was made"

        assert "can't be made" in in_child(body)


def test_a_locked_database(tmp_path: Path, folder: Path) -> None:
    builds = complete_builds(tmp_path)
    path = tmp_path / "buildflow.sqlite"
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    try:
        store = Store(f"sqlite:///{path}", busy_timeout_s=0.2)
        with Engine(Settings(home=tmp_path), folder, store=store) as engine:
            with pytest.raises(StoreError, match="locked by another process"):
                engine.run(files.none)
            assert [row["id"] for row in engine.list()] == builds[::-1], "readers are not kept out"
            other.execute("ROLLBACK")
            assert engine.run(files.none).wait()["status"] == "complete"
        store.close()
    finally:
        other.close()


def test_a_store_that_another_process_is_making(tmp_path: Path) -> None:
    """Before it is in WAL mode, SQLite refuses one of two who change that, without waiting."""
    path = tmp_path / "buildflow.sqlite"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreError, match="locked by another process"):
        Store(f"sqlite:///{path}", busy_timeout_s=0.2)
    end = Timer(0.5, lambda: other.execute("ROLLBACK"))
    end.start()
    try:
        Store(f"sqlite:///{path}").close()
    finally:
        end.join()
        other.close()


def test_locked_in_the_middle_of_a_build(tmp_path: Path, folder: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'buildflow.sqlite'}", busy_timeout_s=0.2)
    path = tmp_path / "buildflow.sqlite"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)

    def points(where: str, subject: str, run: Any) -> None:
        if (where, subject) == ("made", "b"):
            other.execute("BEGIN IMMEDIATE")

    with Engine(
        Settings(home=tmp_path), folder, store=store, points=points, watch_s=None
    ) as engine:
        handle = engine.run(files.three)
        with pytest.raises(StoreError, match="locked"):
            handle.wait()
        other.execute("ROLLBACK")
        assert files.effects(folder) == ["made-a-1", "made-b-1"], "it stopped where it stood"
        engine.points = None
        (again,) = engine.resume()
        assert again.wait()["status"] == "complete"
    assert files.noted(folder).count("make b") == 1
    store.close()


def test_a_full_disk(tmp_path: Path, folder: Path) -> None:
    """The store's files may not grow beyond a size: a build stops where it stands, and goes on."""
    builds = complete_builds(tmp_path)

    def body() -> list[str]:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        size = (tmp_path / "buildflow.sqlite").stat().st_size
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
        with Engine(Settings(home=tmp_path), folder) as engine:
            for _ in range(500):
                try:
                    engine.run(files.none, {"count": 8}).wait()
                except StoreError as error:
                    return [error.summary, str(error.exit_code)]
        return ["it never filled up"]

    message, code = in_child(body)
    assert "disk" in message
    assert code == "4"
    with Engine(Settings(home=tmp_path), folder) as engine:
        for handle in engine.resume():
            assert handle.wait()["status"] == "complete"
        rows = engine.list(limit=None)
        assert {row["status"] for row in rows} == {"complete"}
        assert set(builds) <= {row["id"] for row in rows}
    with sqlite3.connect(tmp_path / "buildflow.sqlite") as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# --- how it is opened ---------------------------------------------------------------------------


def test_it_is_opened_durably(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'buildflow.sqlite'}")
    connection = store._writer()
    found = [
        connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous", "foreign_keys")
    ]
    assert found == ["wal", 2, 1]
    connection.close()
    store.close()


def test_what_a_start_looks_for_has_an_index(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'buildflow.sqlite'}")
    with sqlite3.connect(tmp_path / "buildflow.sqlite") as connection:
        plan = connection.execute(
            f"EXPLAIN QUERY PLAN {store._selects.unfinished._prepared.sql}"
        ).fetchall()
    assert any("ix_builds_unfinished" in str(line) for line in plan), plan
    store.close()


def test_upgrade_from_the_first_version(tmp_path: Path, folder: Path) -> None:
    """Made by the first version's migration, filled as it was then, opened by today's code."""
    url = f"sqlite:///{tmp_path / 'buildflow.sqlite'}"
    ids = builds_of_the_first_version(tmp_path, folder, url)
    with Engine(Settings(home=tmp_path), folder) as engine:
        with engine.store.engine.connect() as connection:
            assert migrations.version(connection) == migrations.HEAD
            context = MigrationContext.configure(connection)
            assert compare_metadata(context, metadata) == [], "the migrations make today's schema"
        assert engine.show("done")["status"] == "complete"
        assert len(engine.show("done")["steps"]) == 5
        assert engine.show(ids["left"])["status"] == "running"
        assert {row["id"] for row in engine.list()} == set(ids.values())
        (handle,) = engine.resume()
        assert handle.wait()["status"] == "complete", "what an older version left behind goes on"
        assert files.noted(folder).count("make b") == 1
        assert engine.delete("done").wait()["status"] == "rolled_back"


def builds_of_the_first_version(home: Path, folder: Path, url: str) -> dict[str, str]:
    """One complete and one whose owner was killed, in a store that the first migration has made."""
    newer = home / "newer.sqlite"

    def body() -> None:
        def die(where: str, subject: str, run: Any) -> None:
            if (where, subject) == ("made", "b") and run.row["name"] == "left":
                os.kill(os.getpid(), signal.SIGKILL)

        settings = Settings(home=home, store=f"sqlite:///{newer}")
        with Engine(settings, folder, points=die) as engine:
            engine.run(files.none, {"count": 4}, name="done").wait()
            engine.run(files.three, name="left").wait()

    assert in_child(body) == KILLED
    old = create_engine(url)
    with old.begin() as connection:
        migrations.upgrade(connection, "0001")
        assert migrations.version(connection) == "0001"
        tables = {name: inspect(connection).get_columns(name) for name in _TABLES}
    old.dispose()
    with sqlite3.connect(home / "buildflow.sqlite") as copy:
        copy.execute("ATTACH ? AS newer", (str(newer),))
        for table, columns in tables.items():
            names = ", ".join(column["name"] for column in columns)
            copy.execute(f"INSERT INTO {table} ({names}) SELECT {names} FROM newer.{table}")
        return dict(copy.execute("SELECT name, id FROM builds").fetchall())


# those that the first version had, parents first
_TABLES = ("builds", "instances", "history", "effects", "flow_details", "atoms", "owners")


# --- one unit among others ----------------------------------------------------------------------


def test_one_unit_that_can_not_be_written_takes_no_other_with_it(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'buildflow.sqlite'}")
    with Engine(Settings(home=tmp_path), tmp_path, store=store) as engine:
        rows = [engine.accept(files.none, {}) for _ in range(2)]
        good, bad = (Unit(row["id"], 1, 1) for row in rows)
        bad.many = [(store.statements.atom, [{"flow": "none such"}])]
        store.journal._write([bad, good])
        assert isinstance(bad.error, StoreError)
        assert good.error is None
        assert [store.build(row["id"])["seq"] for row in rows] == [1, 0]  # type: ignore[index]
    store.close()


def test_fences(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'buildflow.sqlite'}")
    with Engine(Settings(home=tmp_path), tmp_path, store=store) as engine:
        row = engine.accept(files.none, {})
        store.journal.commit(Unit(row["id"], 1, 1))
        for stale in (Unit(row["id"], 1, 1), Unit(row["id"], 0, 2), Unit(row["id"], 1, 3)):
            with pytest.raises(StaleOwner):
                store.journal.commit(stale)
        assert store.claim(row["id"], "another", 1) == 2
        assert store.claim(row["id"], "a third", 1) is None
        with pytest.raises(StaleOwner):
            store.journal.commit(Unit(row["id"], 1, 2))
    store.close()


def test_names(tmp_path: Path, folder: Path) -> None:
    with Engine(Settings(home=tmp_path), folder) as engine:
        with pytest.raises(NotFound):
            engine.show("nobody")
        ids = []
        for _ in range(2):
            (folder / "boom").touch()
            ids.append(engine.run(files.three, name="twin").wait()["id"])
        with pytest.raises(Conflict, match="several"):
            engine.show("twin")
        assert engine.show(ids[0])["name"] == "twin"


# --- PostgreSQL ---------------------------------------------------------------------------------


@pytest.mark.services
class TestPostgreSQL:
    """The same engine on a database server."""

    def test_a_life(self, postgresql_url: str, tmp_path: Path, folder: Path) -> None:
        with Engine(Settings(home=tmp_path, store=postgresql_url), folder) as engine:
            shown = engine.run(files.three, name="x", request_id="r").wait()
            assert shown["status"] == "complete"
            assert engine.run(files.three, request_id="r").id == shown["id"]
            with pytest.raises(Conflict):
                engine.run(files.none, name="x")
            assert engine.delete("x").wait()["status"] == "rolled_back"
            (folder / "boom").touch()
            assert engine.run(files.three).wait()["status"] == "rolled_back"
            assert files.effects(folder) == []
            (folder / "slow-b").touch()
            handle = engine.run(files.three)
            time.sleep(0.3)
            engine.cancel(handle.id)
            assert handle.wait(20)["stop"] == "cancelled"
            with engine.store.engine.connect() as connection:
                context = MigrationContext.configure(connection)
                assert compare_metadata(context, metadata) == []

    def test_killed_and_resumed(self, postgresql_url: str, tmp_path: Path, folder: Path) -> None:
        settings = Settings(home=tmp_path, store=postgresql_url)
        Store(postgresql_url).close()

        def body() -> None:
            def die(where: str, subject: str, run: Any) -> None:
                if (where, subject) == ("made", "b"):
                    os.kill(os.getpid(), signal.SIGKILL)

            with Engine(settings, folder, points=die) as engine:
                engine.run(files.three).wait()

        in_child(body)
        with Engine(settings, folder) as engine:
            (handle,) = engine.resume()
            assert handle.wait()["status"] == "complete"
        assert files.noted(folder).count("make b") == 1

    def test_one_that_is_stopped_in_mid_transaction_stops_nobody_else(
        self, postgresql_url: str
    ) -> None:
        """The server ends its session, whichever statement of a commit it has come to."""
        with_owner = {
            "host": "h", "boot_id": "", "pid": 1, "pid_started": "", "expiry_s": 30,
            "heartbeat_at": "2026-01-01T00:00:00+00:00",
        }  # fmt: skip
        store = Store(postgresql_url)
        statement = store.statements.new_owner
        child = os.fork()
        if child == 0:
            own = Store(postgresql_url)
            cursor = own.engine.raw_connection().cursor()
            ids = ["wanted", *map(str, range(1_000_000))]
            statement.execute_many(cursor, [{"id": each, **with_owner} for each in ids])
            os._exit(0)
        try:
            at_work = text(
                "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'INSERT INTO owners%'"
                " AND xact_start < now() - interval '0.5 s'"
            )
            with store.engine.connect() as connection:
                while not connection.execute(at_work).scalar():
                    connection.rollback()
                    time.sleep(0.05)
            os.kill(child, signal.SIGSTOP)
            began = time.monotonic()
            with store.engine.begin() as connection:
                connection.exec_driver_sql("SET LOCAL statement_timeout = '30 s'")
                cursor = connection.connection.cursor()
                statement.execute(cursor, {"id": "wanted", **with_owner})
            assert time.monotonic() - began < 20
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            store.close()

    def test_a_lost_connection(
        self, postgresql: Any, postgresql_url: str, tmp_path: Path, folder: Path
    ) -> None:
        """Every connection is cut in the middle of a build: it goes on with new ones."""
        admin = create_engine(postgresql.url, isolation_level="AUTOCOMMIT")
        name = postgresql_url.rpartition("/")[2]

        def points(where: str, subject: str, run: Any) -> None:
            if where == "made":
                with admin.connect() as connection:
                    connection.execute(
                        text(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                            " WHERE datname = :name"
                        ),
                        {"name": name},
                    )

        settings = Settings(home=tmp_path, store=postgresql_url)
        with Engine(settings, folder, points=points) as engine:
            assert engine.run(files.three).wait()["status"] == "complete"
        assert [files.noted(folder).count(f"make {name}") for name in "abc"] == [1, 1, 1]
        admin.dispose()

    def test_no_server(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="does not answer"):
            Store("postgresql+psycopg://nobody:secret@127.0.0.1:1/none")
