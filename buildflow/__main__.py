"""`python -m buildflow` is the command line."""

import sys

from buildflow.cli import main

sys.exit(main())
