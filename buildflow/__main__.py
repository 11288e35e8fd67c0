"""`python -m buildflow` is the command line."""

import signal
import sys

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    # until there is a handler of ours (cli/interruption.py) there is nothing to tell a trace of
    signal.signal(signal.SIGINT, signal.SIG_DFL)

from buildflow.cli import main

sys.exit(main())
