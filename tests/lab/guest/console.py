"""What a guest has said on its console, which a reader gets in parts."""


def whole_line(console: str, words: str) -> str | None:
    """The first line with these words; None while there is none that has ended."""
    lines = console.splitlines(keepends=True)
    return next((line.rstrip() for line in lines if words in line and line.endswith("\n")), None)
