"""Booting from an iSCSI volume with CHAP by QEMU's own initiator; the password shows nowhere."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from buildflow.config import Settings
from buildflow.drivers.protocols import ComputeDriver
from buildflow.drivers.registry import open_driver
from buildflow.errors import Refused
from tests.drivers.embedded import shared_uri
from tests.drivers.libvirt.exports import Export, open_export
from tests.drivers.libvirt.guests import Guest, command_line, open_guest
from tests.lab.directories import open_directory
from tests.lab.guest import GuestImages

pytestmark = [pytest.mark.libvirt]


@pytest.fixture
def export(guest_images: GuestImages) -> Iterator[Export]:
    with open_directory("bf-tgt-") as directory, open_export(directory, guest_images.raw) as export:
        yield export


@pytest.fixture(params=["embed", pytest.param("system", marks=pytest.mark.root)])
def driver(request: pytest.FixtureRequest) -> Iterator[ComputeDriver]:
    if request.param == "embed":
        uri = shared_uri()
    else:
        uri = request.getfixturevalue("libvirtd").uri
    with open_directory("bf-home-") as home:
        driver = open_driver("compute", Settings(home=home, connect=uri))
        yield driver
        driver.close()


def everything_under(home: Path) -> bytes:
    return b"".join(
        p.read_bytes() for p in home.rglob("*") if p.is_file() and "secrets" not in str(p)
    )


def test_a_guest_boots_from_its_volume_and_the_password_shows_nowhere(
    driver: ComputeDriver, export: Export
) -> None:
    key = str(uuid.uuid4())
    secrets = {export.volume_id: key}
    mapping = export.mapping()
    assert driver.connect_volume(mapping["connection_info"], dict) == {}
    assert not driver.find_connection(mapping["connection_info"])
    driver.create_secret(key, "chap-user", export.password)
    with open_guest(lambda: Guest(driver, None, volumes=[mapping], secrets=secrets)) as guest:
        assert export.password not in guest.xml
        guest.start()
        driver.delete_secret(key)
        arguments = command_line(guest.uuid)
        assert arguments
        assert export.password.encode() not in arguments
        assert b"disks=vda" in guest.wait_for()
        (target,) = export.tgt.targets()
        initiators = [session.initiator for session in target.sessions]
        assert driver.connector()["initiator"] in initiators
        assert export.password.encode() not in everything_under(Path(guest.directory).parents[1])
    assert not driver.find_secret(key)
    (target,) = export.tgt.targets()
    assert not [s for s in target.sessions if driver.connector()["initiator"] == s.initiator]
    driver.disconnect_volume(mapping["connection_info"])


def test_a_wrong_password_is_refused_and_leaves_nothing_running(
    driver: ComputeDriver, export: Export
) -> None:
    key = str(uuid.uuid4())
    driver.create_secret(key, "chap-user", "wrong-password")
    secrets = {export.volume_id: key}
    with open_guest(lambda: Guest(driver, None, volumes=[export.mapping()], secrets=secrets)) as g:
        with pytest.raises(Refused) as caught:
            g.start()
        assert "wrong-password" not in str(caught.value)
        assert caught.value.code is not None
        domain = driver.find_domain(g.uuid)
        assert domain is not None
        assert not domain.active
        assert command_line(g.uuid) == b""
    driver.delete_secret(key)


@pytest.mark.parametrize(
    "changed", [{"target_iqn": "iqn.2010-10.org.openstack:no"}, {"target_portal": "127.0.0.1:9"}]
)
def test_a_target_that_is_gone_is_an_error_with_the_hypervisors_words(
    driver: ComputeDriver, export: Export, changed: dict[str, str]
) -> None:
    key = str(uuid.uuid4())
    driver.create_secret(key, "chap-user", export.password)
    mapping = export.mapping(**changed)
    secrets = {export.volume_id: key}
    with (
        open_guest(lambda: Guest(driver, None, volumes=[mapping], secrets=secrets)) as guest,
        pytest.raises(Refused, match="iSCSI"),
    ):
        guest.start()
    driver.delete_secret(key)


def test_a_secret_that_is_missing_is_an_error(driver: ComputeDriver, export: Export) -> None:
    secrets = {export.volume_id: str(uuid.uuid4())}
    mapping = export.mapping()
    with (
        open_guest(lambda: Guest(driver, None, volumes=[mapping], secrets=secrets)) as guest,
        pytest.raises(Refused),
    ):
        guest.start()
