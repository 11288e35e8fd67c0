"""Makes the guest: kernel, initial file system and the disk images, each variant of them.

The files appear all together or not at all (made aside, renamed, a stamp written last), are made
again only when this folder changes, and are the same bytes each time from the same packages.
"""

import fcntl
import gzip
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.lab.guest import disk
from tests.lab.guest.cpio import archive
from tests.lab.guest.packages import download, kernel_package, unpack

MARKER = "BUILDFLOW-GUEST-READY"
EPOCH = 1_700_000_000  # all files carry this time
_HERE = Path(__file__).parent
_STAMP = "guest.json"
# no_timer_check: whether the timer ticks is tried for some milliseconds of the host, and an
# emulated processor that was not let run meanwhile panics: "IO-APIC + timer does not work"
_COMMON = "console=ttyS0,115200 quiet no_timer_check bfroot=/dev/vda2"

# The drivers a guest needs on QEMU, each after what it depends on.
_MODULES = (
    "drivers/virtio/virtio_ring",
    "drivers/virtio/virtio",
    "drivers/virtio/virtio_pci_legacy_dev",
    "drivers/virtio/virtio_pci_modern_dev",
    "drivers/virtio/virtio_pci",
    "drivers/block/virtio_blk",
    "net/core/failover",
    "drivers/net/net_failover",
    "drivers/net/virtio_net",
    "drivers/char/virtio_console",
    "drivers/char/hw_random/virtio-rng",
    "drivers/misc/pvpanic/pvpanic",
    "drivers/misc/pvpanic/pvpanic-mmio",
    "drivers/misc/pvpanic/pvpanic-pci",
    "drivers/acpi/button",
    "drivers/input/evdev",
)

_BASE_PACKAGES = ("busybox-static", "syslinux", "syslinux-common", "mtools")
_AGENT_PACKAGES = (
    "qemu-guest-agent", "libc6", "libglib2.0-0", "libnuma1", "libudev1", "liburing2",
    "libpcre2-8-0", "libcap2",
)  # fmt: skip
_AGENT_LIBRARIES = (
    "libc.so.6", "libm.so.6", "libpthread.so.0", "librt.so.1", "libdl.so.2", "libglib-2.0.so.0",
    "libgmodule-2.0.so.0", "libnuma.so.1", "libudev.so.1", "liburing.so.2", "libpcre2-8.so.0",
    "libcap.so.2",
)  # fmt: skip


@dataclass(frozen=True)
class Variant:
    """One disk image: its name, how its kernel is started, whether it holds the guest agent."""

    name: str
    append: str
    agent: bool = False


VARIANTS = (
    Variant("guest", "panic=1"),
    Variant("guest-poweroff", "panic=1 bfmode=poweroff"),
    Variant("guest-silent", "panic=1 bfmode=silent"),
    # No restart after the panic: with a panic device libvirt reports the guest as crashed, without
    # one it hangs, as a machine with a panicked kernel does.
    Variant("guest-panic", "panic=0 bfmode=panic"),
    Variant("guest-agent", "panic=1", agent=True),
)


@dataclass(frozen=True)
class GuestImages:
    """Where the images are."""

    directory: Path

    @property
    def qcow2(self) -> Path:
        """The ordinary guest: boots, prints the marker, stays up."""
        return self.directory / "guest.qcow2"

    @property
    def raw(self) -> Path:
        """The ordinary guest's disk, raw: what a Cinder volume or a Glance image holds."""
        return self.directory / "guest.raw"

    @property
    def kernel(self) -> Path:
        """For direct kernel boot."""
        return self.directory / "vmlinuz"

    @property
    def initrd(self) -> Path:
        """For direct kernel boot; takes the options that `rootfs/init` documents."""
        return self.directory / "initrd.img"

    def variant(self, name: str) -> Path:
        """The qcow2 image `guest-<name>`: poweroff, silent, panic or agent."""
        path = self.directory / f"guest-{name}.qcow2"
        if path.stem not in {variant.name for variant in VARIANTS}:
            raise ValueError(f"no guest variant {name!r}")
        return path

    def files(self) -> list[Path]:
        """All that `make` gives."""
        disks = [self.directory / f"{variant.name}.qcow2" for variant in VARIANTS]
        return [self.raw, self.kernel, self.initrd, *disks]


def make(directory: Path, say: Callable[[str], None] = print) -> GuestImages:
    """Return the images in `directory`, making them if they are missing or out of date.

    Safe to call from several processes at once: the second waits for the first.
    """
    directory = directory.resolve()
    images = GuestImages(directory)
    if _current(images):  # also where only root may write
        return images
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if _current(images):
            return images
        for left in directory.glob(".making-*"):  # of a run that was killed
            shutil.rmtree(left)
        began = time.monotonic()
        say(f"guest image: making {len(VARIANTS)} variants in {directory}")
        making = directory / f".making-{os.getpid()}"
        making.mkdir()
        try:
            _make_all(making, directory / "packages", say)
            _publish(making, images)
        finally:
            shutil.rmtree(making)
        say(f"guest image: ready in {time.monotonic() - began:.1f} s")
    return images


def checksums(images: GuestImages) -> dict[str, str]:
    """The SHA-256 of each file."""
    return {path.name: _sha256(path.read_bytes()) for path in images.files()}


def _source_key() -> str:
    """Changes when anything in this folder does that the image is made by or of."""
    sources = [*_HERE.glob("[a-z]*.py"), *(_HERE / "rootfs").rglob("*")]
    sources = [path for path in sources if path.is_file() and not path.name.startswith("test_")]
    digest = hashlib.sha256()
    for path in sorted(sources):
        digest.update(f"{path.relative_to(_HERE)} {_sha256(path.read_bytes())}\n".encode())
    return digest.hexdigest()


def _current(images: GuestImages) -> bool:
    try:
        stamp = json.loads((images.directory / _STAMP).read_text())
        sizes = {path.name: path.stat().st_size for path in images.files()}
    except (OSError, ValueError):
        return False
    return bool(stamp == {"key": _source_key(), "sizes": sizes})


def _publish(making: Path, images: GuestImages) -> None:
    """Move the finished files into place; the stamp goes first and comes back last."""
    stamp = images.directory / _STAMP
    stamp.unlink(missing_ok=True)
    sizes = {}
    for path in images.files():
        made = making / path.name
        made.chmod(0o644)
        sizes[path.name] = made.stat().st_size
        made.replace(path)
    written = making / _STAMP
    written.write_text(json.dumps({"key": _source_key(), "sizes": sizes}))
    written.replace(stamp)


def _make_all(making: Path, cache: Path, say: Callable[[str], None]) -> None:
    say("guest image: fetching Debian packages")
    kernel = kernel_package()
    debs = download([kernel, *_BASE_PACKAGES, *_AGENT_PACKAGES], cache)
    system, agent = making / "system", making / "agent"
    unpack([debs[name] for name in (kernel, *_BASE_PACKAGES)], system)
    unpack([debs[name] for name in _AGENT_PACKAGES], agent)
    release = next((system / "lib/modules").iterdir()).name
    shutil.copyfile(system / f"boot/vmlinuz-{release}", making / "vmlinuz")

    say("guest image: making the initial file systems")
    _initrd(making / "initrd.img", system, release, None)
    with_agent = making / "with-agent"
    with_agent.mkdir()
    _initrd(with_agent / "initrd.img", system, release, agent)

    tools = disk.Tools(system, EPOCH)
    ext = making / "ext.img"
    disk.data_partition(tools, ext)
    for variant in VARIANTS:
        say(f"guest image: {variant.name}")
        initrd = (with_agent if variant.agent else making) / "initrd.img"
        fat, raw = making / "fat.img", making / f"{variant.name}.raw"
        append = f"{_COMMON} {variant.append}"
        disk.boot_partition(tools, fat, making / "vmlinuz", initrd, append)
        disk.assemble(tools, raw, fat, ext)
        subprocess.run(
            ["qemu-img", "convert", "-O", "qcow2", str(raw), str(raw.with_suffix(".qcow2"))],
            check=True,
        )


def _initrd(out: Path, system: Path, release: str, agent: Path | None) -> None:
    """Write the initial file system: busybox, our init, the modules and perhaps the agent."""
    root = out.with_suffix(".root")
    shutil.copytree(_HERE / "rootfs", root)
    for name in ("bin", "dev", "proc", "sys", "run", "mnt", "tmp", "lib/modules", "usr/sbin"):
        (root / name).mkdir(parents=True, exist_ok=True)
    shutil.copyfile(system / "bin/busybox", root / "bin/busybox")
    (root / "bin/busybox").chmod(0o755)
    modules = system / "lib/modules" / release / "kernel"
    for module in _MODULES:
        shutil.copyfile(modules / f"{module}.ko", root / f"lib/modules/{Path(module).name}.ko")
    order = "".join(f"{Path(module).name}\n" for module in _MODULES)
    (root / "lib/modules/order").write_text(order)
    if agent is not None:
        _add_agent(root, agent)
    for path in root.rglob("*"):  # a checkout's rights depend on its umask; the archive must not
        executable = path.is_dir() or path.stat().st_mode & 0o100
        path.chmod(0o755 if executable else 0o644)
    out.write_bytes(gzip.compress(archive(root, EPOCH), mtime=0))
    shutil.rmtree(root)


def _add_agent(root: Path, agent: Path) -> None:
    """Put qemu-guest-agent and the libraries it is linked with into the file system."""
    libraries = root / "lib/x86_64-linux-gnu"
    libraries.mkdir(parents=True)
    (root / "lib64").mkdir()
    wanted = {name: libraries / name for name in _AGENT_LIBRARIES}
    wanted["qemu-ga"] = root / "usr/sbin/qemu-ga"
    wanted["ld-linux-x86-64.so.2"] = root / "lib64/ld-linux-x86-64.so.2"
    for name, destination in wanted.items():
        source = next((path for path in agent.rglob(name) if path.exists()), None)
        if source is None:
            raise FileNotFoundError(f"the guest agent's packages hold no {name}")
        shutil.copy(source, destination)
        if name in {"qemu-ga", "ld-linux-x86-64.so.2"}:
            destination.chmod(0o755)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
