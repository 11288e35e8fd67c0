"""A ZooKeeper server of the tests' own."""

import socket

from tests.lab.services.service import Service


class ZooKeeper(Service):
    """A standalone server with short ticks, so that lost sessions end soon."""

    user = "zookeeper"

    @property
    def url(self) -> str:
        """zookeeper://HOST:PORT"""
        return f"zookeeper://127.0.0.1:{self.port}"

    def _make_data(self) -> None:
        super()._make_data()
        (self.directory / "zoo.cfg").write_text(
            f"dataDir={self.data}\nclientPort={self.port}\nclientPortAddress=127.0.0.1\n"
            "tickTime=200\nadmin.enableServer=false\n4lw.commands.whitelist=srvr\n"
            "maxClientCnxns=0\n"
        )

    def _command(self) -> list[str]:
        return [
            "java",
            # One core and a small heap are plenty, and it starts sooner.
            *("-Xmx128m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"),
            *("-cp", "/usr/share/java/zookeeper.jar"),
            *("-Dlog4j2.level=WARN", "-Djava.io.tmpdir=" + str(self.data)),
            "org.apache.zookeeper.server.ZooKeeperServerMain",
            str(self.directory / "zoo.cfg"),
        ]

    def _serves(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as client:
                # `ruok` is answered before sessions are; this names the mode once they are.
                client.sendall(b"srvr")
                with client.makefile("rb") as answer:
                    return b"Mode: standalone" in answer.read()
        except OSError:
            return False
