"""A plan: which fault strikes where; and the token that carries it to another machine.

b1.build-1n2v.AIkFAQwC.3f9a
|  |          |        checksum of the points' names, so that a token of another version is
|  |          |        refused instead of being replayed as something else
|  |          for each fault three bytes: the visit's index (two), the kind's number (one)
|  the scene
version of this format
"""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass
from typing import Final

from buildflow.errors import BadInput
from buildflow.faults.kinds import BY_CODE, KINDS, NUMBER, Kind
from buildflow.faults.visit import Visit

TOKEN_MAX: Final = 80
_FORMAT: Final = "b1"
_INDEX_MAX: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a plan: `code` of its kind, and the point by name and turn, or by `index`."""

    code: str
    index: int | None = None
    name: str = ""
    turn: int = 1

    @property
    def kind(self) -> Kind:
        """Its row in the table."""
        return BY_CODE[self.code]

    def strikes(self, visit: Visit) -> bool:
        """Whether this is its point."""
        if self.name:
            return visit.name == self.name and visit.turn == self.turn
        return visit.index == self.index

    @classmethod
    def of(cls, visit: Visit, kind: Kind) -> Fault:
        """The fault that struck at `visit`."""
        return cls(kind.code, visit.index, visit.name, visit.turn)


@dataclass(frozen=True, slots=True)
class Token:
    """A token, taken apart. `checksum` is compared with the points that a replay comes to."""

    scene: str
    faults: tuple[Fault, ...]
    checksum: str

    def check(self, struck: tuple[Fault, ...]) -> None:
        """Raises BadInput when a replay came to other points than the token was made from."""
        if len(struck) != len(self.faults) or checksum(struck) != self.checksum:
            raise BadInput(
                "this token was made by another version of the flow or of its steps: what it"
                f" points at is now {', '.join(f.name for f in struck) or 'not reached'}"
            )


def checksum(faults: tuple[Fault, ...]) -> str:
    """Four hexadecimal digits over the names of the points and the kinds."""
    text = "|".join(f"{fault.name}#{fault.turn}={fault.code}" for fault in faults)
    return f"{zlib.crc32(text.encode()) & 0xFFFF:04x}"


def make_token(scene: str, faults: tuple[Fault, ...]) -> str:
    """The token of faults that have struck; at most TOKEN_MAX characters.

    Raises BadInput when there are too many for that.
    """
    raw = bytearray()
    for fault in faults:
        if fault.index is None or fault.index > _INDEX_MAX:
            raise BadInput("a token is made from faults that have struck")
        raw += fault.index.to_bytes(2, "big") + bytes([NUMBER[fault.code]])
    body = base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")
    token = f"{_FORMAT}.{scene}.{body}.{checksum(faults)}"
    if len(token) > TOKEN_MAX:
        raise BadInput(f"{len(faults)} faults do not fit into {TOKEN_MAX} characters")
    return token


def read_token(token: str) -> Token:
    """Take a token apart. Raises BadInput for what is none."""
    parts = token.strip().split(".")
    if len(parts) != 4 or parts[0] != _FORMAT:
        raise BadInput(
            f"{token!r} is not a token of this version: it looks like b1.SCENE.XXXX.0000"
        )
    try:
        raw = base64.urlsafe_b64decode(parts[2] + "=" * (-len(parts[2]) % 4))
    except ValueError:
        raw = b"?"
    if len(raw) % 3:
        raise BadInput(f"{token!r} is damaged")
    faults = []
    for offset in range(0, len(raw), 3):
        number = raw[offset + 2]
        if number >= len(KINDS):
            raise BadInput(f"{token!r} names a kind of fault that this version does not know")
        faults.append(Fault(KINDS[number].code, int.from_bytes(raw[offset : offset + 2], "big")))
    return Token(parts[1], tuple(faults), parts[3])
