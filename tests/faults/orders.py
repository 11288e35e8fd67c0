"""A flow that has nothing to do with machines: an order that reserves, charges and ships."""

from __future__ import annotations

from typing import Any

from taskflow.patterns import linear_flow

from buildflow.engine.step import Step


class Shop:
    """What exists outside: reserved goods, charges and parcels, by key."""

    def __init__(self) -> None:
        self.reserved: dict[str, int] = {}
        self.charged: dict[str, int] = {}
        self.parcels: dict[str, str] = {}

    def has(self, table: str, key: str) -> bool:
        """Whether there is such a thing."""
        return key in getattr(self, table)

    def put(self, table: str, key: str, value: Any) -> None:
        """Make it."""
        getattr(self, table)[key] = value

    def take(self, table: str, key: str) -> None:
        """Remove it."""
        getattr(self, table).pop(key, None)


class _Entry(Step, abstract=True):
    """One entry in one of the shop's books."""

    def facts(self) -> dict[str, Any]:
        return {"book": self.kind}

    def find(self, key: str, facts: dict[str, Any]) -> str | None:
        return key if self.world.has(facts["book"], key) else None

    def create(self, key: str, facts: dict[str, Any]) -> str:
        self.world.put(facts["book"], key, 1)
        return key

    def delete(self, key: str, facts: dict[str, Any]) -> None:
        self.world.take(facts["book"], key)


class Reserve(_Entry):
    """Goods put aside."""

    kind = "reserved"
    undo_label = "put them back"


class Charge(_Entry):
    """A card charged."""

    kind = "charged"
    undo_label = "refund"


class Ship(_Entry):
    """A parcel handed over."""

    kind = "parcels"
    undo_label = "call it back"


class Forgetful(_Entry):
    """Charges, and forgets to refund."""

    kind = "charged"
    undo_label = "refund"

    def delete(self, key: str, facts: dict[str, Any]) -> None:
        """Does nothing: this is the mistake that the kit is to find."""


def order_flow() -> Any:
    """Reserve, charge, ship."""
    return linear_flow.Flow("order").add(Reserve("reserve"), Charge("charge"), Ship("ship"))


def forgetful_flow() -> Any:
    """The same, with a charge that is never refunded."""
    return linear_flow.Flow("order").add(Reserve("reserve"), Forgetful("charge"), Ship("ship"))
