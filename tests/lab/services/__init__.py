"""The servers behind buildflow's optional parts, started by the tests on loopback."""

from tests.lab.services.etcd import Etcd
from tests.lab.services.pool import ServicePool
from tests.lab.services.postgresql import PostgreSQL
from tests.lab.services.redis import Redis
from tests.lab.services.service import Service
from tests.lab.services.zookeeper import ZooKeeper

__all__ = ["Etcd", "PostgreSQL", "Redis", "Service", "ServicePool", "ZooKeeper"]
