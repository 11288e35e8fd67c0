"""Images from real Glance: streamed, verified, inspected, shared."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from buildflow.config import Settings
from buildflow.drivers.openstack.glance import GlanceImages
from buildflow.drivers.protocols import ImageDriver
from buildflow.errors import BadInput, DriverError, HostUnusable, NotFound, StopBuild
from tests.lab.openstack import Fault, OpenStackLab

pytestmark = pytest.mark.openstack


def keep_on(seconds: float) -> None:
    """A build's pause, for a build that nobody stops."""
    time.sleep(min(seconds, 0.25))


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A raw disk of 8 MiB that compresses badly."""
    path = tmp_path_factory.mktemp("content") / "disk.raw"
    path.write_bytes(os.urandom(8 << 20))
    return path


@pytest.fixture(scope="module")
def qcow2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A qcow2 of 16 MiB."""
    path = tmp_path_factory.mktemp("content") / "disk.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", path, "16M"], check=True)
    return path


@pytest.fixture
def images(settings: Settings) -> GlanceImages:
    """The image driver."""
    return GlanceImages(settings)


def cached(settings: Settings) -> set[str]:
    """What the cache holds but locks."""
    folder = settings.home / "images"
    if not folder.exists():
        return set()
    return {file.name for file in folder.iterdir() if not file.name.endswith(".lock")}


def test_it_is_an_image_driver(images: GlanceImages) -> None:
    assert isinstance(images, ImageDriver)
    images.check()


def test_an_image_is_fetched_once_and_kept(
    images: GlanceImages, lab: OpenStackLab, settings: Settings, content: Path
) -> None:
    image_id = lab.upload_image("big", content, "raw")
    assert images.validate("big") == {
        "id": image_id,
        "name": "big",
        "size": 8 << 20,
        "format": "raw",
    }
    assert cached(settings) == set()
    lab.faults.forget()
    image = images.fetch("big", keep_on)
    assert (image.id, image.format, image.virtual_size) == (image_id, "raw", 8 << 20)
    assert Path(image.path).read_bytes() == content.read_bytes()
    assert images.fetch(image_id, keep_on) == image
    downloads = [seen for seen in lab.faults.requests() if seen.path.endswith("/file")]
    assert len(downloads) == 1
    assert cached(settings) == {f"{image_id}.raw"}
    lab.connect().image.delete_image(image_id)


def test_a_qcow2_is_inspected(images: GlanceImages, lab: OpenStackLab, qcow2: Path) -> None:
    image_id = lab.upload_image("q", qcow2)
    images.validate(image_id)
    image = images.fetch(image_id, keep_on)
    assert (image.format, image.virtual_size) == ("qcow2", 16 << 20)


def test_builds_and_processes_share_one_download(
    images: GlanceImages, lab: OpenStackLab, settings: Settings, content: Path
) -> None:
    image_id = lab.upload_image("shared", content, "raw")
    lab.faults.forget()
    lab.faults.add(Fault("glance", "GET", "/file", action="delay", seconds=1.0))
    program = (
        "import sys, time; from pathlib import Path; from buildflow.config import Settings;"
        "from buildflow.drivers.openstack.glance import GlanceImages;"
        "s = Settings(home=Path(sys.argv[1]), os_cloud='lab', os_service_cloud='labsvc');"
        "print(GlanceImages(s).fetch(sys.argv[2], time.sleep).path)"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", program, settings.home, image_id], stdout=subprocess.PIPE, text=True
    )
    with ThreadPoolExecutor(4) as pool:
        found = {
            image.path for image in pool.map(lambda _: images.fetch(image_id, keep_on), [1] * 4)
        }
    theirs, _ = other.communicate(timeout=60)
    assert found == {theirs.strip()}
    downloads = [seen for seen in lab.faults.requests() if seen.path.endswith("/file")]
    assert len(downloads) == 1


@pytest.mark.parametrize("action", ["drop", "status"])
def test_a_download_that_cannot_begin_is_tried_again(
    images: GlanceImages, lab: OpenStackLab, content: Path, action: str
) -> None:
    image_id = lab.upload_image("again", content, "raw")
    lab.faults.add(
        Fault("glance", "GET", "/file", action=action, status=503, times=2)  # type: ignore[arg-type]
    )
    assert Path(images.fetch(image_id, keep_on).path).read_bytes() == content.read_bytes()
    assert lab.faults.pending() == 0


def test_glance_down_leaves_nothing(
    images: GlanceImages, lab: OpenStackLab, settings: Settings, content: Path
) -> None:
    image_id = lab.upload_image("down", content, "raw")
    lab.faults.add(Fault("glance", "GET", "/file", action="drop", times=-1))
    with pytest.raises(DriverError, match="cannot download image down"):
        images.fetch(image_id, keep_on)
    assert cached(settings) == set()
    lab.faults.add(Fault("glance", action="status", status=503, times=-1))
    with pytest.raises(HostUnusable, match="Glance cannot be used"):
        images.check()


def test_bytes_that_are_not_what_glance_says(
    images: GlanceImages, lab: OpenStackLab, settings: Settings, content: Path
) -> None:
    image_id = lab.upload_image("rotten", content, "raw")
    stored = lab.directory / "glance/images" / image_id
    data = bytearray(stored.read_bytes())
    data[4 << 20] ^= 1
    stored.write_bytes(data)
    with pytest.raises(DriverError, match="damaged"):
        images.fetch(image_id, keep_on)
    assert cached(settings) == set()


def test_a_build_that_is_stopped_leaves_no_half_file(
    images: GlanceImages, lab: OpenStackLab, settings: Settings, content: Path
) -> None:
    image_id = lab.upload_image("stopped", content, "raw")

    def stop(seconds: float) -> None:
        raise StopBuild("cancelled")

    with pytest.raises(StopBuild):
        images.fetch(image_id, stop)
    assert cached(settings) == set()


def test_waiting_for_anothers_download_can_be_stopped(
    images: GlanceImages, lab: OpenStackLab, content: Path
) -> None:
    image_id = lab.upload_image("held", content, "raw")
    held, go_on = threading.Event(), threading.Event()

    def slow(seconds: float) -> None:
        held.set()
        go_on.wait(10)

    def stop(seconds: float) -> None:
        raise StopBuild("cancelled")

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(images.fetch, image_id, slow)
        assert held.wait(10)
        with pytest.raises(StopBuild):
            images.fetch(image_id, stop)
        go_on.set()
        assert first.result().id == image_id


def test_a_process_killed_in_mid_download_is_followed_up(
    images: GlanceImages, lab: OpenStackLab, settings: Settings, content: Path
) -> None:
    image_id = lab.upload_image("killed", content, "raw")
    folder = settings.home / "images"
    folder.mkdir(parents=True)
    part = folder / f".{image_id}.part.raw"
    part.write_bytes(content.read_bytes()[: 3 << 20])
    lab.faults.forget()
    assert Path(images.fetch(image_id, keep_on).path).read_bytes() == content.read_bytes()
    assert cached(settings) == {f"{image_id}.raw"}


def test_a_beginning_that_is_none_is_thrown_away(
    images: GlanceImages, lab: OpenStackLab, settings: Settings, content: Path
) -> None:
    image_id = lab.upload_image("bogus", content, "raw")
    folder = settings.home / "images"
    folder.mkdir(parents=True)
    part = folder / f".{image_id}.part.raw"
    for wrong in (b"x" * (1 << 20), b"x" * (9 << 20)):
        part.write_bytes(wrong)
        assert Path(images.fetch(image_id, keep_on).path).read_bytes() == content.read_bytes()
        (folder / f"{image_id}.raw").unlink()
    (folder / ".other.part.raw").write_bytes(b"left by a process that is dead")
    images.fetch(image_id, keep_on)
    assert cached(settings) == {f"{image_id}.raw"}


def test_dangerous_images_are_refused_before_they_are_fetched(
    images: GlanceImages, lab: OpenStackLab, settings: Settings, tmp_path: Path, qcow2: Path
) -> None:
    backed = tmp_path / "backed.qcow2"
    create = ["qemu-img", "create", "-q", "-f", "qcow2", "-u", "-F", "raw", "-b", "/etc/passwd"]
    subprocess.run([*create, backed, "1M"], check=True)
    plain = tmp_path / "plain"
    plain.write_bytes(bytes(1 << 20))

    def upload(name: str, disk_format: str, content: Path) -> str:
        # this Glance inspects what is uploaded; an older one, or its store, lets such bytes through
        good = plain if disk_format == "raw" else qcow2
        image_id = lab.upload_image(name, good, disk_format)
        (lab.directory / "glance/images" / image_id).write_bytes(content.read_bytes())
        return image_id

    with pytest.raises(BadInput, match=r"image backed \(.*\) is refused: .*backing"):
        images.validate(upload("backed", "qcow2", backed))
    with pytest.raises(BadInput, match="it is called raw, and its bytes are qcow2"):
        images.validate(upload("disguised", "raw", backed))
    with pytest.raises(BadInput, match="its bytes are raw"):
        images.validate(upload("misnamed", "qcow2", plain))
    assert cached(settings) == set()


def test_images_that_cannot_be_used(images: GlanceImages, lab: OpenStackLab, content: Path) -> None:
    tenant = lab.connect().image
    with pytest.raises(NotFound, match="no image nowhere"):
        images.validate("nowhere")
    queued = tenant.create_image(
        "queued", disk_format="raw", container_format="bare", allow_duplicates=True
    )
    with pytest.raises(BadInput, match="queued"):
        images.validate(queued.id)
    other = lab.upload_image("other", content, "ami")
    with pytest.raises(BadInput, match="only raw and qcow2"):
        images.validate(other)
    twins = [lab.upload_image("twin", content, "raw") for _ in range(2)]
    with pytest.raises(BadInput, match="more than one image is called twin"):
        images.validate("twin")
    lab.connect("labadmin").image.deactivate_image(twins[0])
    with pytest.raises(BadInput, match="deactivated"):
        images.validate(twins[0])


def test_tokens_that_expire_before_the_download_are_renewed(
    images: GlanceImages, lab: OpenStackLab, content: Path
) -> None:
    image_id = lab.upload_image("expired", content, "raw")
    images.validate(image_id)
    lab.expire_tokens()
    assert images.fetch(image_id, keep_on).id == image_id
