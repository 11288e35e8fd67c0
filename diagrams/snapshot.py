"""`python -m buildflow.diagrams.snapshot`: all definitions as one JSON document, to be compared."""

from __future__ import annotations

import json
import sys

from buildflow.diagrams.diff.sources import current, dump
from buildflow.errors import BuildflowError


def main() -> int:
    """Print the snapshot; one line on stderr when the definitions contradict themselves."""
    try:
        data = dump(current())
    except BuildflowError as error:
        print(error.summary, file=sys.stderr)
        return error.exit_code
    print(json.dumps(data, indent=2, ensure_ascii=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
