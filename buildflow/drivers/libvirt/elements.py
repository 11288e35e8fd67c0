"""One small verb for writing XML: add a child. lxml does the escaping."""

from __future__ import annotations

from lxml import etree


def add(
    parent: etree._Element, tag: str, text: str | None = None, /, **attributes: str | None
) -> etree._Element:
    """Append `<tag>` with `text` and those `attributes` that are not None; returns it."""
    element = etree.SubElement(
        parent, tag, attrib={k: v for k, v in attributes.items() if v is not None}
    )
    element.text = text
    return element
