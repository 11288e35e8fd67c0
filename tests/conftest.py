"""All tests may use the laboratory; it starts nothing until a test asks for it."""

import signal

import pytest

pytest_plugins = ["tests.lab.fixtures"]


def pytest_configure(config: pytest.Config) -> None:
    """Run in the foreground's way: shells' `&` has signals ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
