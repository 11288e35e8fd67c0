"""Which of our errors libvirt's become; the texts are what libvirt 9.0 has said."""

from typing import Any

import libvirt
import pytest

from buildflow.drivers.libvirt.error_table import ROWS, translate
from buildflow.errors import Conflict, DriverError, Exhausted, HostUnusable, Refused

QEMU, RPC, STORAGE = libvirt.VIR_FROM_QEMU, libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_STORAGE
DOMAIN, NETWORK, NONE = libvirt.VIR_FROM_DOMAIN, libvirt.VIR_FROM_NETWORK, libvirt.VIR_FROM_NONE
EXITED = "internal error: process exited while connecting to monitor: "

SAID: list[tuple[int, int, str, type[Exception]]] = [
    (43, NETWORK, "Network not found: no network with matching name 'x'", Refused),
    (55, NETWORK, "Requested operation is not valid: network 'x' is not active", Refused),
    (38, NONE, "Cannot get interface MTU on 'br9': No such device", Refused),
    (38, STORAGE, "Cannot access storage file '/x': No such file or directory", Refused),
    (1, QEMU, EXITED + "qemu-system-x86_64: -blockdev x: Image is not in qcow2 format", Refused),
    (1, QEMU, EXITED + "cannot set up guest memory 'pc.ram': Cannot allocate memory", Exhausted),
    (1, QEMU, EXITED + 'Failed to get "write" lock', Refused),
    (1, QEMU, EXITED + "iSCSI: Failed to connect to LUN : Failed to log in to target.", Refused),
    (1, QEMU, EXITED + "Unable to read /s: Failed to open file", Refused),
    (1, QEMU, EXITED + "Could not open '/disk': Permission denied", Refused),
    (1, QEMU, "internal error: qemu unexpectedly closed the monitor", DriverError),
    (9, DOMAIN, "operation failed: domain 'a' already exists with uuid b", Conflict),
    (9, DOMAIN, "operation failed: domain 'a' is already defined with uuid b", Conflict),
    (55, QEMU, "Requested operation is not valid: domain is already running", Refused),
    (35, libvirt.VIR_FROM_XML, "(domain_definition):1: Start tag expected", Refused),
    (92, libvirt.VIR_FROM_XML, "XML document failed to validate against schema", Refused),
    (67, QEMU, "unsupported configuration: Emulator does not support machine type", Refused),
    (66, libvirt.VIR_FROM_SECRET, "Secret not found: no secret with matching uuid", Refused),
    (42, QEMU, "Domain not found: no domain with matching uuid", Refused),
    (38, RPC, "Cannot recv data: Connection reset by peer", DriverError),
    (1, RPC, "internal error: client socket is closed", DriverError),
    (68, QEMU, "Timed out during operation: cannot acquire state change lock", DriverError),
    (1, QEMU, "internal error: write failed: No space left on device", Exhausted),
    (45, RPC, "authentication failed: Failed to start SASL negotiation", HostUnusable),
    (999, NONE, "", DriverError),
]


class Said(libvirt.libvirtError):
    """An error as the binding raises it."""

    def __init__(self, code: int, domain: int, text: str) -> None:
        Exception.__init__(self, text)
        self.err: Any = (code, domain, text, 2, "", "", "", -1, -1)


@pytest.mark.parametrize(("code", "domain", "text", "expected"), SAID)
def test_each_error_has_its_class_its_code_and_libvirts_words(
    code: int, domain: int, text: str, expected: type[Exception]
) -> None:
    error = translate(Said(code, domain, text), "start the domain")
    assert type(error) is expected
    assert str(error).startswith("cannot start the domain: ")
    assert " ".join(text.split()) in str(error)
    if isinstance(error, DriverError):
        assert error.code == code


@pytest.mark.parametrize(
    ("code", "domain", "unknown"), [(38, RPC, True), (68, QEMU, True), (38, NONE, False)]
)
def test_only_a_lost_answer_leaves_the_outcome_unknown(
    code: int, domain: int, unknown: bool
) -> None:
    error = translate(Said(code, domain, "x"), "start")
    assert isinstance(error, DriverError)
    assert error.outcome_unknown is unknown


def test_every_row_is_reached_by_something_that_was_said() -> None:
    reached = {
        next(row for row in ROWS if row.fits(code, domain, text)) for code, domain, text, _ in SAID
    }
    memory = next(row for row in ROWS if libvirt.VIR_ERR_NO_MEMORY in row.codes)
    closed = next(row for row in ROWS if row.text and "client socket" in row.text.pattern)
    assert set(ROWS) - reached <= {memory, closed}


def test_every_row_says_why() -> None:
    assert all(row.why for row in ROWS)
    assert ROWS[-1].fits(0, 0, "anything")
