"""What the registry refuses: problem codes, and words for a person."""

from __future__ import annotations

from typing import Sequence, Tuple

from machinectl_agent.network.records import EndpointRecord
from machinectl_agent.problems import Problem


class RegistryError(Problem):
    """Base of all. The store was asked and answered; that it does not answer is KvUnavailable."""

    code = "registry"

    def __init__(self, what: str, *, why: str = "", hint: str = "") -> None:
        super().__init__(type(self).code, what, why=why, hint=hint)


class BadSubnet(RegistryError):
    """No subnet, range or address that can be used."""

    code = "bad-subnet"


class NameTaken(RegistryError):
    """The name belongs to another machine or network, whose id is `owner`."""

    code = "name-taken"

    def __init__(self, what: str, *, owner: str = "", why: str = "", hint: str = "") -> None:
        super().__init__(what, why=why, hint=hint)
        self.owner = owner


class PoolTaken(RegistryError):
    """The subnet overlaps that of another network, or one that this host has itself."""

    code = "subnet-taken"


class PoolGone(RegistryError):
    """Nobody has this subnet, or not as this network's."""

    code = "no-such-subnet"


class PoolFull(RegistryError):
    """No free address in it, or no free subnet in the default pools."""

    code = "subnet-full"


class AddressTaken(RegistryError):
    """Somebody has this address."""

    code = "address-taken"


class VniTaken(RegistryError):
    """Another network has this number."""

    code = "vni-taken"


class NetworkGone(RegistryError):
    """The network was deleted, or never was."""

    code = "no-such-network"


class NetworkInUse(RegistryError):
    """It has endpoints, on any machine."""

    code = "network-in-use"

    def __init__(
        self, what: str, endpoints: Sequence[EndpointRecord], *, why: str = "", hint: str = ""
    ) -> None:
        super().__init__(what, why=why, hint=hint)
        self.endpoints: Tuple[EndpointRecord, ...] = tuple(endpoints)


class EndpointGone(RegistryError):
    """The endpoint was deleted, or is another machine's."""

    code = "no-such-endpoint"


class MachineAlive(RegistryError):
    """It can't be forgotten: its agent runs."""

    code = "machine-alive"


class Busy(RegistryError):
    """Others changed the same records again and again until the time was over."""

    code = "registry-busy"
