"""A private libvirtd for all driver tests, and one network on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab.directories import open_directory
from tests.lab.libvirt import LabNetwork, PrivateLibvirtd


@pytest.fixture(scope="session")
def libvirtd(capabilities: Path) -> Iterator[PrivateLibvirtd]:
    """A libvirtd of our own, started once. A test that kills it starts it again."""
    with open_directory("bf-lv-") as directory, PrivateLibvirtd(directory, capabilities) as daemon:
        yield daemon


@pytest.fixture(scope="session")
def lab_network(libvirtd: PrivateLibvirtd) -> LabNetwork:
    """An isolated network with DHCP."""
    return libvirtd.create_network("lab")
