"""The command line. Rule: nothing heavy is imported before a verb needs it.

Each group of verbs is a module with `register(app)`, which adds its verbs to a typer application.
It is imported only when one of them is called (application.py). A verb finds its settings in
`ctx.obj`, an `Invocation`.
"""

from buildflow.cli.main import main

__all__ = ["main"]
