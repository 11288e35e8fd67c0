"""The boot probe: its program is its source, and it tells working from pretended virtualisation."""

import shutil
import subprocess
from pathlib import Path

import pytest

from buildflow.config import Settings
from buildflow.drivers.libvirt import boot_probe
from buildflow.drivers.libvirt.compute import LibvirtDriver
from buildflow.drivers.libvirt.kvm_rights import KVM
from buildflow.drivers.libvirt.virt_type import kvm_probe_result
from buildflow.drivers.registry import open_driver
from tests.drivers.embedded import shared_uri
from tests.lab.directories import open_directory

SOURCE = Path(boot_probe.__file__).with_suffix(".S")


@pytest.mark.skipif(shutil.which("as") is None, reason="needs binutils")
def test_the_bytes_are_those_of_the_source(tmp_path: Path) -> None:
    made, linked = tmp_path / "probe.o", tmp_path / "probe.bin"
    subprocess.run(["as", "-o", str(made), str(SOURCE)], check=True)
    command = ["ld", "-Ttext", "0x7c00", "--oformat", "binary", "-o", str(linked), str(made)]
    subprocess.run(command, check=True)
    assert linked.read_bytes() == boot_probe.boot_sector()


@pytest.mark.libvirt
def test_emulation_passes_and_nothing_is_left() -> None:
    with open_directory("bf-home-") as home:
        driver = open_driver("compute", Settings(home=home, connect=shared_uri()))
        assert isinstance(driver, LibvirtDriver)
        before = [(t.kind, t.id) for t in driver.inventory()]
        owner = driver.directories.owner
        assert (
            boot_probe.run(driver.connection, home / "host", owner, driver.to_xml, "qemu") is None
        )
        assert [(t.kind, t.id) for t in driver.inventory()] == before
        assert list((home / "host" / "probe").iterdir()) == []


@pytest.mark.libvirt
@pytest.mark.skipif(not KVM.exists(), reason="needs /dev/kvm")
def test_kvm_is_chosen_only_when_a_guest_has_booted_with_it() -> None:
    with open_directory("bf-home-") as home:
        settings = Settings(home=home, connect=shared_uri())
        driver = open_driver("compute", settings)
        chosen = driver.virt_type(None)
        found = kvm_probe_result(home, settings.libvirt_uri)
        assert found is not None
        assert chosen == ("kvm" if found["works"] else "qemu")
        assert found["works"] or found["why"]
        # kept: another driver of the same home does not boot anything
        (home / "host" / "probe").rmdir()
        assert open_driver("compute", settings).virt_type(None) == chosen
        assert not (home / "host" / "probe").exists()
        assert driver.virt_type("kvm") == "kvm"
