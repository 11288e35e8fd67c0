"""The tables of a world and the indexes over them: what exists, and nothing of how it came to be.

Rules: a record is a JSON object that is never changed once it is put, only replaced, so that a copy
of a world is a copy of its tables. Indexes are derived here and nowhere else.
"""

from __future__ import annotations

from typing import Any, Final

from buildflow.drivers.protocols import Json

TABLES: Final = (
    "options",
    "images",
    "networks",
    "ports",
    "volumes",
    "directories",
    "disks",
    "secrets",
    "connections",
    "vifs",
    "domains",
)
"""Records of hosts have ids of the form `host/...`; the others are the cloud's."""


class State:
    """See the module."""

    __slots__ = (
        "addresses",
        "by_name",
        "by_port_key",
        "in_directory",
        "in_use",
        "macs",
        "made",
        "tables",
    )

    def __init__(self) -> None:
        self.tables: dict[str, dict[str, Json]] = {name: {} for name in TABLES}
        # what was ever made, as `kind:key`, for the rule that no key is made twice
        self.made: set[str] = set()
        self.by_name: dict[str, str] = {}  # host/name of a domain -> its id
        self.by_port_key: dict[str, str] = {}
        self.addresses: dict[str, str] = {}  # network/address -> port
        self.macs: dict[str, str] = {}
        self.in_directory: dict[str, set[str]] = {}  # host/directory -> ids of disks
        self.in_use: dict[str, set[str]] = {}  # what a live QEMU holds -> ids of its domains

    def copy(self) -> State:
        """Another state with the same records."""
        new = State.__new__(State)
        new.tables = {name: dict(table) for name, table in self.tables.items()}
        new.made = set(self.made)
        new.by_name = dict(self.by_name)
        new.by_port_key = dict(self.by_port_key)
        new.addresses = dict(self.addresses)
        new.macs = dict(self.macs)
        new.in_directory = {path: set(ids) for path, ids in self.in_directory.items()}
        new.in_use = {token: set(ids) for token, ids in self.in_use.items()}
        return new

    def put(self, table: str, id: str, record: Json | None) -> None:
        """Set a record, or take it away when it is None."""
        rows = self.tables[table]
        old = rows.get(id)
        if record is None:
            rows.pop(id, None)
        else:
            rows[id] = record
        if table == "domains":
            self._index_domain(id, old, record)
        elif table == "ports":
            self._index_port(id, old, record)
        elif table == "disks":
            self._index_disk(id, old, record)

    def users(self, token: str) -> set[str]:
        """Ids of the domains whose QEMU was started with this; whether it still lives is told by
        the domain's record and the time.
        """
        return self.in_use.get(token, _NOBODY)

    def _index_domain(self, id: str, old: Json | None, new: Json | None) -> None:
        if old is not None:
            self.by_name.pop(f"{old['host']}/{old['name']}", None)
            if old["active"]:
                for token in holds(old):
                    _drop(self.in_use, token, id)
        if new is not None:
            self.by_name[f"{new['host']}/{new['name']}"] = id
            if new["active"]:
                for token in holds(new):
                    self.in_use.setdefault(token, set()).add(id)

    def _index_port(self, id: str, old: Json | None, new: Json | None) -> None:
        if old is not None:
            self.addresses.pop(f"{old['network']}/{old['ip']}", None)
            self.macs.pop(old["mac"], None)
            if old["key"] is not None:
                self.by_port_key.pop(old["key"], None)
        if new is not None:
            if new["ip"] is not None:
                self.addresses[f"{new['network']}/{new['ip']}"] = id
            self.macs[new["mac"]] = id
            if new["key"] is not None:
                self.by_port_key[new["key"]] = id

    def _index_disk(self, id: str, old: Json | None, new: Json | None) -> None:
        if old is not None:
            _drop(self.in_directory, f"{old['host']}/{old['directory']}", id)
        if new is not None:
            self.in_directory.setdefault(f"{new['host']}/{new['directory']}", set()).add(id)


def _drop(index: dict[str, set[str]], token: str, id: str) -> None:
    ids = index.get(token)
    if ids is not None:
        ids.discard(id)
        if not ids:
            del index[token]


_NOBODY: Final[set[str]] = set()


def holds(domain: Json) -> list[str]:
    """Tokens of what the QEMU of a domain has open while it lives."""
    host = domain["host"]
    tokens: list[Any] = [f"disk:{host}/{path}" for path in domain["disks"]]
    tokens += [f"volume:{volume['id']}" for volume in domain["volumes"]]
    tokens += [f"port:{vif['id']}" for vif in domain["vifs"]]
    tokens.append(f"uuid:{domain['uuid']}")
    if domain["directory"]:
        tokens.append(f"directory:{host}/{domain['directory']}")
    return tokens
