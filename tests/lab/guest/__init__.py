"""The guest that the tests boot: a small Linux made from Debian packages, without root.

`make()` gives a `GuestImages` with the paths; `python -m tests.lab.guest DIR` makes them by hand.
Standard library only: this runs before the virtual environment exists.
"""

from tests.lab.guest.console import whole_line
from tests.lab.guest.make import MARKER, VARIANTS, GuestImages, Variant, make

__all__ = ["MARKER", "VARIANTS", "GuestImages", "Variant", "make", "whole_line"]
