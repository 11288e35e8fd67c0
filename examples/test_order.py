"""The failure-injection kit on a flow that has nothing to do with machines, from pytest.

    pytest examples/test_order.py

An order takes goods from the shelf, charges a card and hands a parcel over. `faults` fails it in
every way: each call of the shop raises, hangs or loses its answer, the process is killed between
any two lines, the store fails; after each the shop's books must show a complete order, or none.
"""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from taskflow.patterns import linear_flow

import buildflow

Json = dict[str, Any]


class Shop:
    """What exists outside: three books, by key. Each public method is a fault point."""

    def __init__(self) -> None:
        self.reserved: Json = {}
        self.charged: Json = {}
        self.parcels: Json = {}

    def read(self, book: str, key: str) -> Any:
        """An entry, or None."""
        return getattr(self, book).get(key)

    def write(self, book: str, key: str, value: Any) -> None:
        """Make an entry."""
        getattr(self, book)[key] = value

    def strike(self, book: str, key: str) -> None:
        """Take it back."""
        getattr(self, book).pop(key, None)


class Entry(buildflow.Step, abstract=True):
    """One entry in one of the books. Its key is known before, so that it is never made twice."""

    def facts(self) -> Json:
        """What the undo will need: durable before anything is made."""
        return {"book": self.kind}

    def find(self, key: str, facts: Json) -> str | None:
        """Whether it is there, which after a crash nobody else knows."""
        return key if self.world.read(facts["book"], key) else None

    def create(self, key: str, facts: Json) -> str:
        """Make it."""
        self.world.write(facts["book"], key, 1)
        return key

    def delete(self, key: str, facts: Json) -> None:
        """Undo it."""
        self.world.strike(facts["book"], key)


class Reserve(Entry):
    """Goods put aside."""

    kind: ClassVar[str] = "reserved"
    undo_label: ClassVar[str] = "put them back"


class Charge(Entry):
    """A card charged."""

    kind: ClassVar[str] = "charged"
    undo_label: ClassVar[str] = "refund"


class Ship(Entry):
    """A parcel handed over."""

    kind: ClassVar[str] = "parcels"
    undo_label: ClassVar[str] = "call it back"


def order() -> Any:
    """The flow: a function at the top of a module."""
    return linear_flow.Flow("order").add(Reserve("reserve"), Charge("charge"), Ship("ship"))


def test_order(faults: Any) -> None:
    faults(order, world=Shop)


@pytest.mark.faults(depth=2, only=["kill", "lost answer", "call fails"])
def test_two_faults_in_a_row(faults: Any) -> None:
    result = faults(order, world=Shop)
    assert result.pairs > 500
