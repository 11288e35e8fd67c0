"""SVG as PNG, by resvg: a wheel that needs nothing of the system but its fonts."""

from __future__ import annotations

from buildflow.errors import HostUnusable

ZOOM = 2
"""How many pixels one unit of a picture becomes: sharp on paper and on dense screens."""


def rasterise(svg: str, *, zoom: int = ZOOM) -> bytes:
    """`svg` as a PNG. Raises HostUnusable when the library is not there."""
    try:
        import resvg_py
    except ImportError as error:
        raise HostUnusable(
            "png needs the Python package resvg-py: `pip install resvg-py`; svg, text, mermaid,"
            " dot and json need nothing"
        ) from error
    return bytes(resvg_py.svg_to_bytes(svg_string=svg, zoom=zoom))
