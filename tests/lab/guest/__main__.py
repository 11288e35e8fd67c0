"""`python3 -m tests.lab.guest [DIR] [--check]`: make the guest image, or prove it reproducible."""

import argparse
import sys
import tempfile
from pathlib import Path

from tests.lab.guest.make import checksums, make


def main() -> int:
    """Make the images in DIR; with --check make them a second time and compare all bytes."""
    parser = argparse.ArgumentParser(prog="python3 -m tests.lab.guest", description=__doc__)
    parser.add_argument("directory", nargs="?", type=Path, default=Path(".cache/guest"))
    parser.add_argument("--check", action="store_true", help="make again and compare the bytes")
    options = parser.parse_args()
    images = make(options.directory, say=lambda line: print(line, flush=True))
    if not options.check:
        return 0
    with tempfile.TemporaryDirectory(prefix="buildflow-guest-") as name:
        again = Path(name)
        # The same packages: Debian may have published newer ones meanwhile.
        (again / "packages").symlink_to(images.directory / "packages")
        same = checksums(make(again)) == checksums(images)
    print("the same bytes twice" if same else "the bytes differ")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
