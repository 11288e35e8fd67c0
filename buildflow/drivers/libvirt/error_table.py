"""Which of our errors each libvirt error is, as data. The first row that fits decides.

Codes alone do not tell: QEMU's refusals all come as INTERNAL_ERROR, so that text has to be read,
and SYSTEM_ERROR means a lost answer when the RPC layer says it and a missing file when storage
does. `tests/drivers/libvirt/test_error_table.py` holds texts that real libvirts have said.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import libvirt

from buildflow.errors import (
    BuildflowError,
    Conflict,
    DriverError,
    Exhausted,
    HostUnusable,
    Refused,
)


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """libvirt errors with one of `codes`, from one of `domains`, matching `text`.

    Empty `codes` or `domains` and a `text` of None fit everything. `why` is for the reader.
    """

    becomes: type[BuildflowError]
    codes: frozenset[int]
    domains: frozenset[int]
    text: re.Pattern[str] | None
    why: str
    outcome_unknown: bool = False

    def fits(self, code: int, domain: int, message: str) -> bool:
        """Whether this row speaks of such an error."""
        return (
            (not self.codes or code in self.codes)
            and (not self.domains or domain in self.domains)
            and (self.text is None or self.text.search(message) is not None)
        )


def _row(
    becomes: type[BuildflowError],
    codes: tuple[int, ...] = (),
    domains: tuple[int, ...] = (),
    text: str | None = None,
    *,
    why: str,
    outcome_unknown: bool = False,
) -> ErrorRow:
    pattern = None if text is None else re.compile(text, re.IGNORECASE)
    return ErrorRow(becomes, frozenset(codes), frozenset(domains), pattern, why, outcome_unknown)


ROWS: Final[tuple[ErrorRow, ...]] = (
    _row(
        HostUnusable, (libvirt.VIR_ERR_AUTH_FAILED, libvirt.VIR_ERR_AUTH_CANCELLED,
                       libvirt.VIR_ERR_AUTH_UNAVAILABLE, libvirt.VIR_ERR_NO_CONNECT),
        why="nobody lets us in, or nobody is there",
    ),
    _row(
        DriverError, (libvirt.VIR_ERR_SYSTEM_ERROR, libvirt.VIR_ERR_INTERNAL_ERROR,
                      libvirt.VIR_ERR_RPC),
        (libvirt.VIR_FROM_RPC,), why="the connection broke with the call under way",
        outcome_unknown=True,
    ),
    _row(
        DriverError, (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_ERR_INVALID_CONN),
        text=r"client socket is closed|connection (was )?(closed|reset)",
        why="the connection broke before or during the call", outcome_unknown=True,
    ),
    _row(
        DriverError, (libvirt.VIR_ERR_OPERATION_TIMEOUT, libvirt.VIR_ERR_AGENT_UNRESPONSIVE),
        why="another job holds the domain, or QEMU did not answer in time", outcome_unknown=True,
    ),
    _row(
        Exhausted, text=r"cannot set up guest memory|cannot allocate memory|no space left on device"
        r"|disk quota exceeded|no more available|too many open files",
        why="this host has no room for it; another might",
    ),
    _row(
        Conflict, (libvirt.VIR_ERR_OPERATION_FAILED,),
        text=r"already (exists|defined|active)|is already",
        why="the name or uuid belongs to another domain",
    ),
    _row(Exhausted, (libvirt.VIR_ERR_NO_MEMORY,), why="libvirt itself has no memory left"),
    _row(
        Refused, (libvirt.VIR_ERR_NO_NETWORK, libvirt.VIR_ERR_NO_SECRET,
                  libvirt.VIR_ERR_NO_STORAGE_VOL, libvirt.VIR_ERR_NO_STORAGE_POOL,
                  libvirt.VIR_ERR_NO_DOMAIN),
        why="what the domain names is not there",
    ),
    _row(
        Refused, (libvirt.VIR_ERR_OPERATION_INVALID, libvirt.VIR_ERR_OPERATION_DENIED,
                  libvirt.VIR_ERR_OPERATION_UNSUPPORTED, libvirt.VIR_ERR_NO_SUPPORT,
                  libvirt.VIR_ERR_ACCESS_DENIED),
        why="not in this state, or not with this driver",
    ),
    _row(
        Refused, (libvirt.VIR_ERR_XML_ERROR, libvirt.VIR_ERR_XML_DETAIL,
                  libvirt.VIR_ERR_XML_INVALID_SCHEMA, libvirt.VIR_ERR_CONFIG_UNSUPPORTED,
                  libvirt.VIR_ERR_INVALID_ARG),
        why="the hypervisor cannot do what the domain asks for",
    ),
    _row(
        Refused, (libvirt.VIR_ERR_SYSTEM_ERROR,), text=r"cannot get interface mtu|no such device",
        why="a bridge is missing",
    ),
    _row(
        Refused, (libvirt.VIR_ERR_SYSTEM_ERROR,), (libvirt.VIR_FROM_STORAGE,),
        why="a disk or a backing file is missing or unreadable",
    ),
    _row(
        Refused, (libvirt.VIR_ERR_INTERNAL_ERROR,), (libvirt.VIR_FROM_QEMU,),
        text=r"failed to get .* lock|could not open|image is corrupt|not in \w+ format"
        r"|permission denied|iscsi|failed to (log|open)|(could not|unable to) read|no such file"
        r"|invalid|unsupported|not supported",
        why="QEMU refused a disk or a device, and would refuse it again",
    ),
    _row(DriverError, why="anything else may be different next time"),
)  # fmt: skip


def row_for(error: Any) -> ErrorRow:
    """The table's row for a `libvirt.libvirtError`."""
    code, domain = error.get_error_code() or 0, error.get_error_domain() or 0
    return next(row for row in ROWS if row.fits(code, domain, _text(error)))


def translate(error: Any, action: str, driver: str = "compute") -> BuildflowError:
    """Our error for a `libvirt.libvirtError`: `action` and libvirt's own words, with its code."""
    row = row_for(error)
    message = f"cannot {action}: {_text(error)}"
    if issubclass(row.becomes, DriverError):
        return row.becomes(
            message,
            driver=driver,
            code=error.get_error_code(),
            outcome_unknown=row.outcome_unknown,
        )
    return row.becomes(message)


def _text(error: Any) -> str:
    return " ".join((error.get_error_message() or str(error)).split())
