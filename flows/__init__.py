"""The flows and their steps, a file per resource."""

if __name__ != "buildflow.flows":  # one module, one name: states and steps must not exist twice
    raise ImportError("import buildflow.flows, not flows")
