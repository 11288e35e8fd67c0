"""The laboratory as pytest fixtures; `tests/conftest.py` names this module as a plugin."""

from pathlib import Path

import pytest

from tests.lab.directories import CACHE
from tests.lab.guest import GuestImages, make


@pytest.fixture(scope="session")
def guest_images() -> GuestImages:
    """The bootable guest, made on the first run and cached."""
    return make(CACHE / "guest")


@pytest.fixture(scope="session")
def capabilities() -> Path:
    """What libvirt found out about this host's QEMU, shared by all private libvirtds."""
    return CACHE / "libvirt-capabilities"
