"""What this project adds to a build: its own builds against a plain libvirt script, in turns.

    python bench/overhead.py [--rounds N] [--image FILE] [--json]

Both make the same guest with the same calls in the same process on the same embedded hypervisor: an
overlay by qemu-img, a validated define, a start. A round is one of each, in an order that changes,
timed up to RUNNING; removing them is not timed. What a build spends outside qemu-img and libvirt is
our own code: it is measured by taking the time in these calls away. Beside it stands its processor
time, which a loaded machine does not stretch.

Exits 1 when the ratio of medians is above 1.10 or our own code takes more than 40 ms a build.
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import buildflow
from buildflow.drivers.libvirt.compute import LibvirtDriver

RATIO_MAX = 1.10
OWN_MAX_MS = 40.0
WARM_UP = 2
GUEST = Path(__file__).parents[1] / ".cache" / "guest" / "guest.qcow2"


class Outside:
    """When, and in whatever thread, somebody was in libvirt or waited for a program."""

    def __init__(self) -> None:
        self.spans: list[tuple[float, float]] = []
        self.cpu = 0.0
        self._lock = threading.Lock()
        self._changed: list[tuple[Any, str, Any]] = []

    def watch(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            begin, cpu = time.perf_counter(), time.thread_time()
            try:
                return call(*args, **kwargs)
            finally:
                with self._lock:
                    self.spans.append((begin, time.perf_counter()))
                    self.cpu += time.thread_time() - cpu

        return watched

    def __enter__(self) -> "Outside":
        """Watch every call into libvirt's library, and every program that is run."""
        import libvirt

        library = libvirt.libvirtmod
        self._change(subprocess, "run")
        for name in dir(library):
            if name.startswith("vir") and "Event" not in name:
                self._change(library, name)
        return self

    def __exit__(self, *_: object) -> None:
        for where, name, call in self._changed:
            setattr(where, name, call)

    def _change(self, where: Any, name: str) -> None:
        call = getattr(where, name)
        if callable(call):
            self._changed.append((where, name, call))
            setattr(where, name, self.watch(call))

    def seconds(self, begin: float, end: float) -> float:
        """How long between `begin` and `end` at least one such call was under way."""
        covered, until = 0.0, begin
        with self._lock:
            spans = sorted(self.spans)
        for first, last in spans:
            first, last = max(first, until), min(last, end)
            if last > first:
                covered += last - first
                until = last
        return covered


def ours(engine: Any, image: Path) -> tuple[float, float, Callable[[], None]]:
    """One build by the engine: begin, end, and how to remove it."""
    begin = time.perf_counter()
    handle = engine.build(
        name=f"bench-{uuid.uuid4().hex[:8]}", image=str(image), memory_mib=96, wait="power"
    )
    outcome = handle.wait()
    end = time.perf_counter()
    if outcome["status"] != "complete":
        raise SystemExit(f"the build failed: {json.dumps(outcome.get('fault'))}")
    return begin, end, lambda: engine.delete(handle.id).wait()


def plain(connection: Any, home: Path, image: Path, xml: str) -> tuple[float, float, Any]:
    """The same by a plain script: begin, end, and how to remove it."""
    import libvirt

    new = str(uuid.uuid4())
    directory = home / f"plain-{new}"
    begin = time.perf_counter()
    directory.mkdir(mode=0o711)
    disk, log = directory / "disk.qcow2", directory / "console.log"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-b", str(image), "-F", "qcow2"]
    subprocess.run([*command, str(disk)], check=True)
    log.touch()
    for path in (disk, log):
        give_to_qemu(path)
    domain = connection.defineXMLFlags(
        xml.replace("UUID", new).replace("DIRECTORY", str(directory)),
        libvirt.VIR_DOMAIN_DEFINE_VALIDATE,
    )
    domain.create()
    if domain.state()[0] != libvirt.VIR_DOMAIN_RUNNING:
        raise SystemExit("the plain guest does not run")
    end = time.perf_counter()

    def remove() -> None:
        domain.destroy()
        domain.undefine()
        shutil.rmtree(directory)

    return begin, end, remove


OWNER: tuple[int, int] | None = None


def give_to_qemu(path: Path) -> None:
    """As root QEMU is another user, and a plain script has to know that as well."""
    if OWNER is not None:
        shutil.chown(path, *OWNER)


def template(engine: Any, image: Path) -> str:
    """The XML of a build of ours, with places for what differs from guest to guest."""
    _, _, remove = ours(engine, image)
    row = engine.list()[0]
    host = next(iter(engine.world.computes.values()))
    with host.connection.calling("read the XML") as connection:
        xml: str = connection.lookupByUUIDString(row["id"]).XMLDesc(0)
    remove()
    from lxml import etree

    domain: Any = etree.fromstring(xml)
    directory = str(Path(domain.find("./devices/serial/log").get("file")).parent)
    domain.find("./devices/disk/source").set("file", "DIRECTORY/disk.qcow2")
    domain.attrib.pop("id", None)
    # what differs from guest to guest, or was added by libvirt for the running one, goes
    for path in (
        "./devices/interface/mac", "./devices/serial/source", "./devices/console/source",
        "./devices/*/alias", ".//backingStore", "./seclabel",
    ):  # fmt: skip
        for element in domain.findall(path):
            element.getparent().remove(element)
    for console in domain.findall("./devices/console"):
        console.attrib.pop("tty", None)
    text: str = etree.tostring(domain, encoding="unicode")
    for found, place in (
        (directory, "DIRECTORY"),
        (row["id"], "UUID"),
        (row["name"], "plain-UUID"),
    ):
        text = text.replace(found, place)
    return text


def main() -> int:
    """Measure and print."""
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--rounds", type=int, default=15)
    options.add_argument("--image", type=Path, default=GUEST)
    options.add_argument("--json", action="store_true")
    chosen = options.parse_args()
    home = Path(tempfile.mkdtemp(prefix="bf-bench-"))
    home.chmod(0o755)
    outside = Outside()
    times: dict[str, list[float]] = {"ours": [], "plain": []}
    own: list[float] = []
    cpu: dict[str, list[float]] = {"ours": [], "plain": []}
    try:
        with buildflow.open(home, boot_grace_s=0.0, virt_type="qemu") as engine:
            host = next(iter(engine.world.computes.values()))
            assert isinstance(host, LibvirtDriver)
            global OWNER
            OWNER = host.directories.owner
            xml = template(engine, chosen.image)
            connection = host.connection.open()
            with outside:
                for number in range(WARM_UP + chosen.rounds):
                    for who in ["ours", "plain"] if number % 2 else ["plain", "ours"]:
                        before = time.process_time() - outside.cpu
                        if who == "ours":
                            begin, end, remove = ours(engine, chosen.image)
                        else:
                            begin, end, remove = plain(connection, home, chosen.image, xml)
                        used = time.process_time() - outside.cpu - before
                        remove()
                        if number < WARM_UP:
                            continue
                        times[who].append((end - begin) * 1000)
                        cpu[who].append(used * 1000)
                        if who == "ours":
                            own.append((end - begin - outside.seconds(begin, end)) * 1000)
    finally:
        shutil.rmtree(home, ignore_errors=True)
    return report(times, own, cpu, as_json=chosen.json)


def report(
    times: dict[str, list[float]],
    own: list[float],
    cpu: dict[str, list[float]],
    *,
    as_json: bool,
) -> int:
    """Print what was found; 1 when it is too much."""
    medians = {who: statistics.median(values) for who, values in times.items()}
    ratio, own_ms = medians["ours"] / medians["plain"], statistics.median(own)
    # the plain script's share is libvirt's own threads
    cpu_ms = statistics.median(cpu["ours"]) - statistics.median(cpu["plain"])
    passed = ratio <= RATIO_MAX and own_ms <= OWN_MAX_MS
    if as_json:
        print(json.dumps({
            "rounds": len(own), "plain_ms": medians["plain"], "ours_ms": medians["ours"],
            "ratio": ratio, "own_ms": own_ms, "own_cpu_ms": cpu_ms,
            "passed": passed,
        }))  # fmt: skip
    else:
        spread = {who: statistics.quantiles(values, n=4) for who, values in times.items()}
        print(f"{len(own)} rounds, in turns, median (quartiles) up to RUNNING:")
        for who in ("plain", "ours"):
            low, _, high = spread[who]
            print(f"  {who:6} {medians[who]:7.1f} ms  ({low:.1f} to {high:.1f})")
        print(f"  ratio  {ratio:7.3f}     at most {RATIO_MAX}")
        print(f"  own    {own_ms:7.1f} ms  at most {OWN_MAX_MS:g}, outside qemu-img and libvirt")
        print(f"  cpu    {cpu_ms:7.1f} ms  of the processor for our own code")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
