"""What this host can do, and the cure for what it can't: the checks behind `buildflow doctor`.

A check is a row of the table in `table`: a name and a function of the settings. It looks, changes
nothing but what it says, and answers with one line and, when something is wrong, the command that
mends it.
"""

from buildflow.drivers.doctor.check import BAD, OK, WARN, CheckResult
from buildflow.drivers.doctor.table import CHECKS, run_checks

__all__ = ["BAD", "CHECKS", "OK", "WARN", "CheckResult", "run_checks"]
