"""Pictures of the running definitions: extraction into one model, and its renderers."""

if __name__ != "buildflow.diagrams":  # one module, one name: states and steps must not exist twice
    raise ImportError("import buildflow.diagrams, not diagrams")
