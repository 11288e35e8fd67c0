"""Progress of builds on stderr: a live tree on a terminal, plain lines elsewhere."""

from buildflow.cli.progress.follow import Progress

__all__ = ["Progress"]
