"""The drivers that the contract suite is run against, one table a kind of driver.

To put a driver under contract, add a row: a name, the marks its tests need, and a function that
yields the driver with what the suite has to know about its world. The function may ask pytest for
fixtures by `request.getfixturevalue`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from buildflow.config import Settings
from buildflow.drivers.protocols import (
    ComputeDriver,
    Image,
    ImageDriver,
    Json,
    NetworkDriver,
    PortRequest,
    VolumeDriver,
)
from buildflow.drivers.registry import open_driver
from tests.drivers.embedded import shared_uri
from tests.lab.directories import open_directory


@dataclass
class ComputeSubject:
    """`image` can be booted; `port` is an entry that this hypervisor can plug.

    `really` tells that guests really run, so that a QEMU must be there and go.
    """

    driver: ComputeDriver
    image: Image
    port: Json
    virt_type: str = "qemu"
    memory_mib: int = 96
    really: bool = True
    secrets: bool = True


@dataclass
class NetworkSubject:
    """`request` can be granted any number of times at once; `unknown` names no network."""

    driver: NetworkDriver
    request: PortRequest
    unknown: PortRequest = field(default_factory=lambda: PortRequest("no-such-network"))
    host: str = "host-1"
    unbinds: bool = False


@dataclass
class VolumeSubject:
    """`new_volume` gives the id of one that is available and is nobody's."""

    driver: VolumeDriver
    new_volume: Callable[[], str]
    missing: str = "00000000-0000-4000-8000-00000000dead"
    connector: Json = field(default_factory=lambda: {"host": "host-1"})


@dataclass
class ImageSubject:
    """`image` is there and safe, `missing` is not there, `unsafe` must be refused."""

    driver: ImageDriver
    image: str
    missing: str
    unsafe: str | None = None


@dataclass
class Row:
    """One driver under contract: marks for its tests, and how to open it."""

    opened: Callable[[pytest.FixtureRequest], AbstractContextManager[Any]]
    marks: tuple[pytest.MarkDecorator, ...] = ()


def say(message: str) -> None:
    """What drivers tell the user goes to pytest's captured output."""
    print(message)


@contextmanager
def open_home() -> Iterator[Path]:
    """A home that QEMU can work in, whoever runs it."""
    with open_directory("bf-home-") as home:
        yield home


# --- compute --------------------------------------------------------------------------------------


def user_port(key: str, home: Path) -> Json:
    """A NIC on QEMU's own NAT."""
    settings = Settings(home=home, network_driver="user")
    driver = open_driver("network", settings)
    return driver.create_port(key, key, "vm", PortRequest("user"))


def compute_on(uri: str | None) -> Callable[[pytest.FixtureRequest], Any]:
    """libvirt at `uri`; None is this process's embedded hypervisor."""

    @contextmanager
    def opened(request: pytest.FixtureRequest) -> Iterator[ComputeSubject]:
        images = request.getfixturevalue("guest_images")
        with open_home() as home:
            connect = uri or shared_uri()
            driver = open_driver("compute", Settings(home=home, connect=connect), say)
            image = open_driver("image", Settings(home=home), say).fetch(
                str(images.qcow2), lambda _s: None
            )
            try:
                yield ComputeSubject(driver, image, user_port("port", home))
            finally:
                driver.close()

    return opened


@contextmanager
def test_compute(request: pytest.FixtureRequest) -> Iterator[ComputeSubject]:
    """libvirt's mock hypervisor, which starts nothing."""
    with open_home() as home:
        driver = open_driver("compute", Settings(home=home, connect="test:///default"), say)
        raw = home / "image.raw"
        raw.write_bytes(b"\0" * 4096)
        image = Image(str(raw), "raw", 4096)
        port = user_port("port", home)
        try:
            yield ComputeSubject(driver, image, port, virt_type="test", really=False)
        finally:
            driver.close()


@contextmanager
def system_compute(request: pytest.FixtureRequest) -> Iterator[ComputeSubject]:
    """The private libvirtd."""
    daemon = request.getfixturevalue("libvirtd")
    with compute_on(daemon.uri)(request) as subject:
        yield subject


# --- networks -------------------------------------------------------------------------------------


@contextmanager
def user_network(request: pytest.FixtureRequest) -> Iterator[NetworkSubject]:
    """QEMU's own NAT."""
    with open_home() as home:
        driver = open_driver("network", Settings(home=home, network_driver="user"), say)
        yield NetworkSubject(driver, PortRequest("user"))


@contextmanager
def libvirt_network(request: pytest.FixtureRequest) -> Iterator[NetworkSubject]:
    """A network of the private libvirtd, and `user` beside it."""
    daemon = request.getfixturevalue("libvirtd")
    network = request.getfixturevalue("lab_network")
    with open_home() as home:
        driver = open_driver("network", Settings(home=home, connect=daemon.uri), say)
        try:
            yield NetworkSubject(driver, PortRequest(network.name))
        finally:
            driver.close()


# --- volumes and images ---------------------------------------------------------------------------


@contextmanager
def local_volumes(request: pytest.FixtureRequest) -> Iterator[VolumeSubject]:
    """Files."""
    with open_home() as home:
        driver = open_driver("volume", Settings(home=home), say)
        numbers = iter(range(1000))

        def new_volume() -> str:
            volume_id = f"volume-{next(numbers)}"
            path = home / "volumes" / f"{volume_id}.raw"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"\0" * 512)
            return volume_id

        yield VolumeSubject(driver, new_volume)


@contextmanager
def image_files(request: pytest.FixtureRequest) -> Iterator[ImageSubject]:
    """Files."""
    with open_home() as home:
        good = home / "good.raw"
        good.write_bytes(b"\0" * 4096)
        lie = home / "lie.qcow2"
        lie.write_bytes(b"\0" * 4096)
        driver = open_driver("image", Settings(home=home), say)
        yield ImageSubject(driver, str(good), str(home / "missing.raw"), unsafe=str(lie))


# --- OpenStack ------------------------------------------------------------------------------------


@contextmanager
def open_cloud(request: pytest.FixtureRequest, **settings: Any) -> Iterator[Settings]:
    """Settings of a tenant of the lab, with a service identity."""
    lab = request.getfixturevalue("openstack_lab")
    environment = request.getfixturevalue("monkeypatch")
    environment.setenv("OS_CLIENT_CONFIG_FILE", str(lab.clouds_yaml))
    with open_home() as home:
        yield Settings(home=home, os_cloud="lab", os_service_cloud="labsvc", **settings)


def cinder_by(volume_api: str) -> Callable[[pytest.FixtureRequest], Any]:
    """Cinder, by one of its two protocols."""

    @contextmanager
    def opened(request: pytest.FixtureRequest) -> Iterator[VolumeSubject]:
        with open_cloud(request, volume_api=volume_api) as settings:
            driver = open_driver("volume", settings, say)
            tenant = request.getfixturevalue("openstack_lab").connect().block_storage
            made: list[str] = []

            def new_volume() -> str:
                volume = tenant.create_volume(size=1)
                made.append(volume.id)
                return str(tenant.wait_for_status(volume, "available", interval=0.2).id)

            connector = {
                "host": "host-1", "ip": "127.0.0.1", "platform": "x86_64", "os_type": "linux",
                "initiator": "iqn.2008-11.org.linux-kvm:host-1", "multipath": False,
            }  # fmt: skip
            try:
                yield VolumeSubject(driver, new_volume, connector=connector)
            finally:
                for volume_id in made:
                    driver.delete_volume("", volume_id)
                driver.close()

    return opened


@contextmanager
def neutron(request: pytest.FixtureRequest) -> Iterator[NetworkSubject]:
    """Neutron, and `user` beside it."""
    with open_cloud(request) as settings:
        driver = open_driver("network", settings, say)
        try:
            yield NetworkSubject(driver, PortRequest("lab-net"), unbinds=True)
        finally:
            driver.close()


@contextmanager
def glance(request: pytest.FixtureRequest) -> Iterator[ImageSubject]:
    """Glance, and files beside it."""
    with open_cloud(request) as settings:
        lab = request.getfixturevalue("openstack_lab")
        content = settings.home / "content"
        content.write_bytes(b"\0" * 4096)
        good = lab.upload_image("good", content, "raw")
        unsafe = lab.upload_image("unsafe", content, "ami")
        driver = open_driver("image", settings, say)
        try:
            yield ImageSubject(driver, good, "00000000-0000-4000-8000-00000000dead", unsafe)
        finally:
            for image in (good, unsafe):
                lab.connect().image.delete_image(image)
            driver.close()


COMPUTES: Mapping[str, Row] = {
    "test": Row(test_compute),
    "embed": Row(compute_on(None), (pytest.mark.libvirt,)),
    "system": Row(system_compute, (pytest.mark.libvirt, pytest.mark.root)),
}
RUNNING_COMPUTES: Mapping[str, Row] = {
    name: row for name, row in COMPUTES.items() if name != "test"
}
NETWORKS: Mapping[str, Row] = {
    "user": Row(user_network),
    "libvirt": Row(libvirt_network, (pytest.mark.libvirt, pytest.mark.root)),
    "neutron": Row(neutron, (pytest.mark.openstack,)),
}
VOLUMES: Mapping[str, Row] = {
    "local": Row(local_volumes),
    "cinder-attachments": Row(cinder_by("attachments"), (pytest.mark.openstack,)),
    "cinder-legacy": Row(cinder_by("legacy"), (pytest.mark.openstack,)),
}
IMAGES: Mapping[str, Row] = {
    "file": Row(image_files),
    "glance": Row(glance, (pytest.mark.openstack,)),
}


def params(table: Mapping[str, Row]) -> list[Any]:
    """A table as pytest wants it."""
    return [pytest.param(row, id=name, marks=row.marks) for name, row in table.items()]
