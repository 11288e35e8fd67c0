"""Packaging of buildflow-vm.

`flows/` and `diagrams/` are real top-level folders that install as `buildflow.flows` and
`buildflow.diagrams`. Two relative symlinks inside `buildflow/` make the same names importable from
an uninstalled checkout; `package_dir` keeps the wheel right where symlinks are lost.
"""

from setuptools import find_packages, setup

MAPPED = {"buildflow.flows": "flows", "buildflow.diagrams": "diagrams"}
CORE = [
    name
    for name in find_packages(include=["buildflow", "buildflow.*"])
    if not name.startswith(tuple(MAPPED))
]
INNER = [
    f"{package}.{inner}" for package, folder in MAPPED.items() for inner in find_packages(folder)
]

setup(
    packages=[*CORE, *MAPPED, *INNER],
    package_dir=dict(MAPPED),
    package_data={"buildflow": ["py.typed", "engine/migrations/*.mako", "engine/migrations/*.ini"]},
)
