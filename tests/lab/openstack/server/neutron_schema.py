# mypy: ignore-errors
"""Neutron's tables on SQLite: `python neutron_schema.py neutron.conf`.

Its migrations do not run on SQLite, so the schema is made from the models.
"""

import sys

from neutron.common import config

config.register_common_config_options()
config.init(["--config-file", sys.argv[1]])

from neutron.db.migration.models import head  # noqa: E402
from neutron_lib.db import api as db_api  # noqa: E402

head.get_metadata().create_all(db_api.CONTEXT_WRITER.get_engine())
