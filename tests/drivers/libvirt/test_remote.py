"""A hypervisor on another host: what cannot work there is refused before it is tried.

Nobody answers at the address used here, so that nothing below can have asked anybody.
"""

from pathlib import Path

import pytest

from buildflow.config import Settings
from buildflow.drivers.libvirt.compute import LibvirtDriver
from buildflow.drivers.protocols import ComputeDriver, Image
from buildflow.drivers.registry import open_driver
from buildflow.errors import HostUnusable, Refused
from tests.drivers.libvirt.test_domain_xml import mapping, spec


@pytest.fixture
def driver(tmp_path: Path) -> ComputeDriver:
    return open_driver(
        "compute", Settings(home=tmp_path, connect="qemu+ssh://nobody.invalid/system")
    )


def test_a_disk_of_this_host_is_refused_with_what_works(
    driver: ComputeDriver, tmp_path: Path
) -> None:
    with pytest.raises(Refused, match="boot from a volume"):
        driver.create_disk("k", str(tmp_path), Image("/image", "raw", 512), None)


def test_its_console_is_not_waited_for(driver: ComputeDriver) -> None:
    with pytest.raises(Refused, match="power"):
        driver.console("uuid")


def test_it_is_emulated_unless_told_otherwise(driver: ComputeDriver) -> None:
    assert driver.virt_type(None) == "qemu"
    assert driver.virt_type("kvm") == "kvm"


def test_a_guest_that_boots_from_a_volume_can_be_written_for_it(driver: ComputeDriver) -> None:
    xml = driver.to_xml(spec(mapping("iscsi"), root_disk=None))
    assert "<log" not in xml
    assert "protocol='iscsi'" in xml.replace('"', "'")


def test_a_host_that_does_not_answer_is_said_to(driver: ComputeDriver) -> None:
    assert isinstance(driver, LibvirtDriver)
    with pytest.raises(HostUnusable, match=r"qemu\+ssh://nobody.invalid"):
        driver.connection.open()
