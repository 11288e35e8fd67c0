"""All tests may use the laboratory; it starts nothing until a test asks for it."""

pytest_plugins = ["tests.lab.fixtures"]
