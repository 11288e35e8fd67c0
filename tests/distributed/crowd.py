"""Many jobs at once: copies of one that was submitted, in the store and on its board.

To submit 10,000 one by one takes minutes, and they would be the same. What must be true of copies:
the board counts and reads them as its own, and they can be claimed and consumed.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import insert, select

from buildflow.distributed.board import Board
from buildflow.engine.schema import builds, flow_details, instances, jobs
from buildflow.engine.store import Store

# etcd takes 128 operations in a transaction; a client of ZooKeeper's that has 10,000 questions on
# their way is late with its heartbeat
_AT_ONCE: Final = 100


def copy_build(store: Store, build: str, count: int) -> list[str]:
    """So many more of a queued build with its job; their ids."""
    ids = [str(uuid.uuid4()) for _ in range(count)]
    with store.engine.begin() as connection:
        for table, column in ((builds, "id"), (instances, "uuid"), (flow_details, "build"),
                              (jobs, "build")):  # fmt: skip
            found = connection.execute(select(table).where(table.c[column] == build))
            row = dict(found.mappings().one())
            copies = []
            for number, each in enumerate(ids):
                copy = {**row, column: each}
                if table is builds:
                    copy.update(name=f"copy{each}", live_name=f"copy{each}")
                if table is flow_details:
                    copy["uuid"] = str(uuid.uuid5(uuid.UUID(each), str(number)))
                copies.append(copy)
            connection.execute(insert(table), copies)
    return ids


def post_all(board: Board, ids: Sequence[str]) -> None:
    """A job for each, as TaskFlow's board would have posted it."""
    if ids:
        _POST[board.kind](board._open(), ids)


def _redis(board: Any, ids: Sequence[str]) -> None:
    client = board._client
    posting = board._loads(next(iter(client.hgetall(board.listings_key).values())))
    first = client.incrby(board.sequence_key, len(ids)) - len(ids) + 1
    with client.pipeline(transaction=False) as pipe:
        for number, each in enumerate(ids):
            job = str(uuid.uuid4())
            copy = {**posting, "uuid": job, "sequence": first + number, "details": {"build": each}}
            pipe.hset(board.listings_key, job.encode(), board._dumps(copy))
        pipe.execute()


def _etcd(board: Any, ids: Sequence[str]) -> None:
    import base64
    import json

    def coded(text: str) -> str:
        return base64.b64encode(text.encode()).decode()

    posting = json.loads(board.get_data(board._fetch_jobs(ensure_fresh=True)[0]))
    counter = board._create_path(board._root_path, board.SEQUENCE_KEY)
    last = int(board.get_one(counter))
    for start in range(0, len(ids), _AT_ONCE):
        puts = []
        for each in ids[start:][:_AT_ONCE]:
            last += 1
            copy = {**posting, "uuid": str(uuid.uuid4()), "sequence": last}
            copy["details"] = {"build": each}
            key = board._create_path(board._root_path, f"{board.JOB_PREFIX}{last}")
            value = coded(json.dumps(copy))
            puts.append({"request_put": {"key": coded(key + board.DATA_POSTFIX), "value": value}})
        board._client.transaction({"compare": [], "success": puts, "failure": []})
    board._client.put(counter, str(last))


def _zookeeper(board: Any, ids: Sequence[str]) -> None:
    import json

    client = board._client
    raw, _ = client.get(board._fetch_jobs(ensure_fresh=True)[0].path)
    posting = json.loads(raw)
    for start in range(0, len(ids), _AT_ONCE):
        asked = []
        for each in ids[start:][:_AT_ONCE]:
            copy = {**posting, "uuid": str(uuid.uuid4()), "details": {"build": each}}
            value = json.dumps(copy).encode()
            asked.append(client.create_async(board._job_base, value=value, sequence=True))
        for request in asked:
            request.get()


_POST: Final[dict[str, Callable[[Any, Sequence[str]], None]]] = {
    "redis": _redis, "etcd": _etcd, "zookeeper": _zookeeper,
}  # fmt: skip
