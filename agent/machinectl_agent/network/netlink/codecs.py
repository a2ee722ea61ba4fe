"""pyroute2's message classes, without what importing pyroute2 itself would load.

`import pyroute2` takes 110 ms and 24 MB, as its __init__ imports all that there is; the four message classes
alone take 30 ms and 5 MB. So they are imported below an empty stand-in for the package, which is taken away again.
"""

from __future__ import annotations

import importlib.util
import struct
import sys
from typing import Any, Callable, Dict, List, Optional, Sequence, Tuple, TypeVar

Found = TypeVar("Found")
Attributes = List[Tuple[str, Any]]
Reader = Callable[[bytes, int], Optional[Found]]
"""Takes a datagram and where in it the message begins."""

REQUEST, ACK, DUMP = 0x1, 0x4, 0x300
REPLACE, EXCLUSIVE, CREATE, APPEND = 0x100, 0x200, 0x400, 0x800
"""Flags of netlink(7)."""
NEW_LINK, DELETE_LINK, GET_LINK = 16, 17, 18
NEW_ADDRESS, DELETE_ADDRESS, GET_ADDRESS = 20, 21, 22
NEW_ROUTE, DELETE_ROUTE, GET_ROUTE = 24, 25, 26
NEW_NEIGHBOUR, DELETE_NEIGHBOUR, GET_NEIGHBOUR = 28, 29, 30
"""Types of rtnetlink(7)."""
BRIDGE = 7
"""AF_BRIDGE, which Python's socket module does not have."""


def _load() -> Sequence[Any]:
    spec = importlib.util.find_spec("pyroute2")
    if spec is None:
        raise ModuleNotFoundError("pyroute2 is missing in this bundle")
    stands_in = "pyroute2" not in sys.modules
    if stands_in:
        sys.modules["pyroute2"] = importlib.util.module_from_spec(spec)
    try:
        from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg  # noqa: PLC0415
        from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg  # noqa: PLC0415
        from pyroute2.netlink.rtnl.ndmsg import ndmsg  # noqa: PLC0415
        from pyroute2.netlink.rtnl.rtmsg import rtmsg  # noqa: PLC0415
    finally:
        if stands_in:
            # whoever wants the whole package imports the whole package
            del sys.modules["pyroute2"]
    return ifinfmsg, ifaddrmsg, rtmsg, ndmsg


LinkMessage, AddressMessage, RouteMessage, NeighbourMessage = _load()


def request(shape: Any, kind: int, how: int, attributes: Attributes, **fields: int) -> bytearray:
    """One message, ready but for its sequence number. An attribute that the class does not know would be left
    out without a word: that is an error of ours."""
    message = shape()
    message.update(fields)
    message["header"] = {"type": kind, "flags": REQUEST | how}
    message["attrs"] = attributes
    unknown = [name for name, _ in attributes if not message.valid_nla(name)]
    if unknown:
        raise ValueError(f"no attributes of {shape.__name__}: {unknown}")
    message.encode()
    found: bytearray = message.data
    return found


def number(message: bytearray, sequence: int, more_flags: int = 0) -> None:
    """Puts the sequence number into the header, and adds flags."""
    flags = struct.unpack_from("H", message, 6)[0]
    struct.pack_into("=HI", message, 6, flags | more_flags, sequence)


def reader(shape: Any, read: Callable[[Any], Optional[Found]]) -> Reader[Found]:
    """Decodes, then reads. A decoded message is big (kilobytes): none should be kept."""

    def take(buffer: bytes, offset: int) -> Optional[Found]:
        message = shape(buffer, offset)
        message.decode()
        return read(message)

    return take


def raw_attributes(buffer: bytes, offset: int, fixed: int) -> Dict[int, bytes]:
    """By number, undecoded, of the message there, whose fixed part has that many bytes: for tables of thousands,
    where the classes' decoding takes five times as long."""
    end = offset + int(struct.unpack_from("I", buffer, offset)[0])
    place = offset + 16 + fixed
    found = {}
    while place + 4 <= end:
        length, kind = struct.unpack_from("HH", buffer, place)
        found[kind] = buffer[place + 4 : place + length]
        place += (max(length, 4) + 3) & ~3
    return found
