"""A Sphinx directive that draws a flow or the states where it stands, when the pages are made.

    .. buildflow:: flow
       :flow: mypackage.flows:make_flow

Put `buildflow.diagrams.directive` into `extensions`. HTML gets an SVG that follows dark and light,
everything else the picture as text. The options are those of `draw`.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final

from docutils import nodes  # type: ignore[import-untyped]
from docutils.parsers.rst import Directive, directives  # type: ignore[import-untyped]

from buildflow.diagrams.drawing import KINDS, draw
from buildflow.errors import BuildflowError

_SMALLEST: Final = 0.7  # of its size, at which small letters can still be read


class Diagram(Directive):  # type: ignore[misc]
    """See the module."""

    required_arguments = 1
    optional_arguments = 0
    has_content = False
    option_spec: ClassVar[dict[str, Any]] = {
        "flow": directives.unchanged_required,
        "machine": directives.unchanged_required,
        "style": directives.unchanged_required,
        "depth": directives.nonnegative_int,
        "text": directives.flag,
    }

    def run(self) -> list[nodes.Node]:
        """The picture; a definition that can't be drawn is an error of the page, on one line."""
        kind = self.arguments[0]
        if kind not in KINDS:
            raise self.error(f"no diagram is called {kind!r}: choose one of {', '.join(KINDS)}")
        options = {name: value for name, value in self.options.items() if name != "text"}
        try:
            text = draw(kind, format="text", **options).decode()
            picture = "" if "text" in self.options else draw(kind, format="svg", **options).decode()
        except BuildflowError as error:
            raise self.error(error.summary) from error
        block = nodes.literal_block(text, text, language="none")
        if not picture:
            return [block]
        html = nodes.raw("", _frame(picture), format="html")
        return [html, _but_html(block)]


def _frame(picture: str) -> str:
    """An SVG for a page: it shrinks with its column as far as it can be read, then scrolls."""
    inline = picture.partition("?>")[2].lstrip()  # without the XML declaration
    wide = re.search(r'<svg [^>]*width="([\d.]+)"', inline)
    least = round(float(wide.group(1)) * _SMALLEST) if wide else 0
    style = f"max-width:100%;min-width:{least}px;height:auto"
    svg = inline.replace("<svg ", f'<svg style="{style}" ', 1)
    return f'<div style="overflow-x:auto">{svg}</div>'


def _but_html(block: nodes.Node) -> nodes.Node:
    """`block` for every format that has no SVG, where Sphinx is at work."""
    try:
        from sphinx.addnodes import only
    except ImportError:
        return nodes.comment("", "")
    container = only(expr="not html")
    container += block
    node: nodes.Node = container
    return node


def setup(app: Any) -> dict[str, Any]:
    """Called by Sphinx."""
    app.add_directive("buildflow", Diagram)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
