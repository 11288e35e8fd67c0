"""Loopback ports that nothing listens on."""

import random
import socket


def free_port() -> int:
    """A port that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def free_block(size: int) -> int:
    """The first of `size` free ports in a row, below those that the kernel gives to clients."""
    for _ in range(200):
        first = random.randrange(15000, 30000, 50)
        if all(_is_free(first + offset) for offset in range(size)):
            return first
    raise RuntimeError(f"no {size} free ports in a row")


def answers(port: int) -> bool:
    """Whether something accepts connections on the port."""
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Servers bind this way too; without it a port counts as taken for a minute after its use.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
