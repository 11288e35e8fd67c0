"""URLs as they may be shown: credentials never reach logs, listings or error messages."""

from __future__ import annotations

import re
from urllib.parse import urlsplit, urlunsplit

_IN_TEXT = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*://)[^\s/]*@")


def without_credentials(url: str) -> str:
    """`url` with user and password left out."""
    parts = urlsplit(url)
    if "@" not in parts.netloc:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def text_without_credentials(text: str) -> str:
    """`text` with the credentials of every URL in it left out."""
    return _IN_TEXT.sub(r"\g<scheme>", text)
