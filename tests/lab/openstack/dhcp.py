"""DHCP for Neutron's ports, as Neutron's own agent gives it: `python -m ...dhcp BRIDGE SUBNET DB`.

Each request is answered from Neutron's database, by MAC: a new port is known at once, a deleted one
forgotten at once, and no lease outlives its port, which no dnsmasq would promise.
"""

import ipaddress
import socket
import sqlite3
import struct
import sys

_DISCOVER, _OFFER, _REQUEST, _ACK, _NAK = 1, 2, 3, 5, 6
_MAGIC = b"\x63\x82\x53\x63"
_LEASE_SECONDS = 3600
_QUERY = (
    "SELECT ipallocations.ip_address FROM ports "
    "JOIN ipallocations ON ipallocations.port_id = ports.id WHERE ports.mac_address = ?"
)


class NeutronPorts:
    """Finds a port's fixed address."""

    def __init__(self, database: str, subnet: ipaddress.IPv4Network) -> None:
        """Read from this database, addresses of this subnet only."""
        self._uri = f"file:{database}?mode=ro"
        self._subnet = subnet

    def address_of(self, mac: str) -> ipaddress.IPv4Address | None:
        """The fixed address of the port with this MAC, if there is one on the subnet."""
        connection = sqlite3.connect(self._uri, uri=True, timeout=10)
        try:
            rows = connection.execute(_QUERY, (mac,)).fetchall()
        finally:
            connection.close()
        for (text,) in rows:
            address = ipaddress.ip_address(text)
            if isinstance(address, ipaddress.IPv4Address) and address in self._subnet:
                return address
        return None


def answer(packet: bytes, ports: NeutronPorts, subnet: ipaddress.IPv4Network) -> bytes | None:
    """The reply to a client's packet, or None where there is nothing to say."""
    if len(packet) < 240 or packet[0] != 1 or packet[236:240] != _MAGIC:
        return None
    options = _options(packet[240:])
    kind = options.get(53, b"\0")[0]
    if kind not in {_DISCOVER, _REQUEST}:
        return None
    server = subnet[1].packed
    if options.get(54, server) != server:
        return None  # the client took another server's offer
    mac = ":".join(f"{byte:02x}" for byte in packet[28:34])
    address = ports.address_of(mac)
    if address is None:
        return None
    reply = _OFFER
    if kind == _REQUEST:
        wanted = options.get(50, packet[12:16])
        reply = _ACK if wanted == address.packed else _NAK
    given = bytes(4) if reply == _NAK else address.packed
    head = struct.pack("!BBBB4sHH", 2, 1, 6, 0, packet[4:8], 0, 0x8000)
    body = head + bytes(4) + given + server + bytes(4) + packet[28:44] + bytes(192) + _MAGIC
    body += bytes((53, 1, reply, 54, 4)) + server
    if reply != _NAK:
        body += b"\x33\x04" + struct.pack("!I", _LEASE_SECONDS)
        body += b"\x01\x04" + subnet.netmask.packed + b"\x03\x04" + server
    return body + b"\xff"


def serve(bridge: str, subnet: ipaddress.IPv4Network, database: str) -> None:
    """Answer on the bridge until the process is ended."""
    ports = NeutronPorts(database, subnet)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, bridge.encode())
        sock.bind(("", 67))
        print("ready", flush=True)
        while True:
            packet, _ = sock.recvfrom(4096)
            reply = answer(packet, ports, subnet)
            if reply is not None:
                sock.sendto(reply, ("255.255.255.255", 68))


def _options(data: bytes) -> dict[int, bytes]:
    """The options of a packet, by number."""
    options: dict[int, bytes] = {}
    position = 0
    while position < len(data) and data[position] != 255:
        if data[position] == 0:
            position += 1
            continue
        size = data[position + 1] if position + 1 < len(data) else 0
        options[data[position]] = data[position + 2 : position + 2 + size]
        position += 2 + size
    return options


if __name__ == "__main__":
    serve(sys.argv[1], ipaddress.IPv4Network(sys.argv[2]), sys.argv[3])
