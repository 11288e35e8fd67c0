"""Bad input: a line that says what is wrong and what would be right, exit 2, nothing done."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bad_luck.stage import Stage
from tests.lab.guest import GuestImages

pytestmark = [pytest.mark.libvirt, pytest.mark.slow]

MakeImage = Callable[[Path, GuestImages], Path]


def no_such(folder: Path, guest: GuestImages) -> Path:
    return folder / "none.qcow2"


def named_raw(folder: Path, guest: GuestImages) -> Path:
    return Path(shutil.copy(guest.qcow2, folder / "guest.raw"))


def named_qcow2(folder: Path, guest: GuestImages) -> Path:
    return Path(shutil.copy(guest.raw, folder / "guest.qcow2"))


def with_backing_file(folder: Path, guest: GuestImages) -> Path:
    return qemu_img(folder / "backed.qcow2", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd")


def with_data_file(folder: Path, guest: GuestImages) -> Path:
    data = f"data_file={folder}/outside.raw,data_file_raw=on"
    return qemu_img(folder / "split.qcow2", "-f", "qcow2", "-o", data, size="1M")


def with_outside_extent(folder: Path, guest: GuestImages) -> Path:
    path = folder / "extent.vmdk"
    path.write_text(
        "# Disk DescriptorFile\nversion=1\nCID=1\nparentCID=ffffffff\n"
        'createType="monolithicFlat"\nRW 2048 FLAT "/etc/passwd" 0\n'
    )
    return path


def truncated(folder: Path, guest: GuestImages) -> Path:
    path = Path(shutil.copy(guest.qcow2, folder / "short.qcow2"))
    os.truncate(path, path.stat().st_size // 4)
    return path


def empty(folder: Path, guest: GuestImages) -> Path:
    path = folder / "empty.qcow2"
    path.touch()
    return path


def a_folder(folder: Path, guest: GuestImages) -> Path:
    return folder


def qemu_img(path: Path, *words: str, size: str = "") -> Path:
    command = ["qemu-img", "create", "-q", *words, str(path)]
    subprocess.run([*command, size] if size else command, check=True)
    return path


IMAGES: list[tuple[MakeImage, str]] = [
    (no_such, "no image at"),
    (named_raw, "not what its name says: its name says raw, its bytes qcow2"),
    (named_qcow2, "not what its name says: its name says qcow2, its bytes raw"),
    (with_backing_file, "names a backing file, which QEMU would open on this host"),
    (with_data_file, "keeps its data in another file, which QEMU would open on this host"),
    (with_outside_extent, "names an extent outside itself"),
    (truncated, "is truncated"),
    (empty, "is empty"),
    (a_folder, "is not a regular file"),
]


@pytest.mark.parametrize(("make", "words"), IMAGES, ids=[make.__name__ for make, _ in IMAGES])
def test_an_image_that_will_not_do(
    stage: Stage, guest_images: GuestImages, tmp_path: Path, make: MakeImage, words: str
) -> None:
    refused(stage, words, "--image", str(make(tmp_path, guest_images)))


NAMES = ["", "x" * 300, "a<b", "a/b", "..", "a\nb", "-", " ", "a b", "ä", ".hidden"]


@pytest.mark.parametrize("name", NAMES, ids=[ascii(name)[:12] for name in NAMES])
def test_a_name_that_will_not_do(stage: Stage, image: Path, name: str) -> None:
    before = stage.footprint()
    ran = stage.run("--json", "--quiet", "build", "--image", str(image), "--", name)
    assert ran.code == 2, ran.err
    assert "is not a name for a machine: use 1 to 63 letters, digits" in ran.line
    assert ran.document["error"]["exit_code"] == 2
    assert stage.footprint() == before


OPTIONS = [
    (("--memory", "0"), "--memory: must be at least 1, not 0"),
    (("--memory", "-5"), "--memory: must be at least 1, not -5"),
    (("--memory", str(900 << 20)), "--memory: must be at most"),
    (("--memory", str(16 << 20)), "of memory are asked for, and this host has"),
    (("--memory", "lots"), "valid integer"),
    (("--vcpus", "0"), "--vcpus: must be at least 1, not 0"),
    (("--vcpus", "100000"), "--vcpus: must be at most"),
    (("--network", "nowhere"), "no network 'nowhere'"),
    (("--network", "bridge:br-none"), "no bridge 'br-none' on this host"),
    (("--network", "none", "--network", "user"), "--network none goes with no other"),
    (("--nic", "network=user,mac=zz"), "a MAC is six pairs of hexadecimal digits"),
    (("--nic", "network=user,ip=300.1.1.1"), "'300.1.1.1' does not appear to be"),
    (("--nic", "colour=red"), "'colour' is none of network, ip, mac, port"),
    (("--port", "1234"), "port 1234"),
    (("--volume", "none"), "no volume 'none'"),
    (("--wait", "patience"), "is none of power, address, console:REGEX"),
    (("--wait", "console:("), "does not compile"),
    (("--timeout", "0"), "--timeout: must be more than 0"),
    (("--timeout", "inf"), "finite"),
    (("--disk", "0"), "--disk: must be at least 1"),
    (("--inject", "no_step"), "no step is called 'no_step' here; there are"),
    (("--inject", "start:never"), "start has no point 'never'; it has start:execute"),
    (("--virt-type", "xen"), "use kvm or qemu"),
    (("--volume-api", "new"), "use auto or attachments or legacy"),
    (("--compute-driver", "nova"), "no compute driver is named 'nova'; there are"),
    (("--connect", "xen:///"), "use qemu:///embed?root=DIR"),
    (("--boot-volume", "1234"), "give an image or a boot volume: one of the two"),
    (("--frobnicate",), "--frobnicate"),
]


@pytest.mark.parametrize(("words", "told"), OPTIONS, ids=[" ".join(w) for w, _ in OPTIONS])
def test_an_option_that_will_not_do(
    stage: Stage, image: Path, words: tuple[str, ...], told: str
) -> None:
    refused(stage, told, "--image", str(image), *words)


def test_neither_image_nor_volume(stage: Stage) -> None:
    refused(stage, "give an image or a boot volume")


def test_a_name_that_another_machine_has(own_stage: Stage, image: Path) -> None:
    built = own_stage.build("taken", "--image", str(image))
    assert built.code == 0, built.err
    refused(own_stage, "is taken by build", "--image", str(image), name="taken")
    own_stage.delete("taken")
    again = own_stage.build("taken", "--image", str(image))
    assert again.code == 0, again.err
    own_stage.delete("taken")


def test_a_name_that_a_strange_domain_has(own_stage: Stage, image: Path) -> None:
    uri = f"qemu:///embed?root={own_stage.home}/embed"
    subprocess.run(
        [own_stage.code.python, "-c", DEFINE_STRANGER, uri], check=True, capture_output=True
    )
    refused(own_stage, "taken by a domain that is not ours", "--image", str(image), name="stranger")


# in a process of its own, for the embedded hypervisor is held until its process ends
DEFINE_STRANGER = """
import sys, threading, libvirt
libvirt.virEventRegisterDefaultImpl()
def turn():
    while True:
        libvirt.virEventRunDefaultImpl()
threading.Thread(target=turn, daemon=True).start()
libvirt.open(sys.argv[1]).defineXML(
    "<domain type='qemu'><name>stranger</name><memory unit='MiB'>32</memory>"
    "<os><type arch='x86_64'>hvm</type></os></domain>"
)
"""


def test_an_image_that_may_not_be_read(powerless: Stage, image: Path) -> None:
    closed = powerless.home.parent / "closed.qcow2"
    shutil.copy(image, closed)
    closed.chmod(0o600)
    refused(powerless, "cannot be read: Permission denied", "--image", str(closed))


def test_a_home_that_may_not_be_written(powerless: Stage, image: Path) -> None:
    powerless.home.chmod(0o555)
    os.chown(powerless.home, 0, 0)
    before = set(powerless.home.rglob("*"))
    ran = powerless.build("vm", "--image", str(image))
    assert ran.code == 4, ran.err
    assert str(powerless.home) in ran.line
    assert set(powerless.home.rglob("*")) == before


def refused(stage: Stage, told: str, *words: str, name: str = "vm") -> None:
    """Exit 2, one line that holds `told`, the same in JSON, and nothing done."""
    before = stage.footprint()
    ran = stage.build(name, *words)
    assert ran.code == 2, f"exit {ran.code}: {ran.err}"
    assert told in ran.line
    error = ran.document["error"]
    assert (error["exit_code"], ran.line) == (2, f"buildflow: {error['message']}")
    assert stage.footprint() == before
