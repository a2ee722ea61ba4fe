"""The phases, in the order in which they are planned and applied."""

from __future__ import annotations

from typing import Tuple

from machinectl_agent.phases.agent import AgentPhase
from machinectl_agent.phases.base import Phase
from machinectl_agent.phases.cluster_store import ClusterStoreGonePhase, ClusterStorePhase
from machinectl_agent.phases.containers import ContainersPhase
from machinectl_agent.phases.engine_config import EngineConfigPhase
from machinectl_agent.phases.engine_service import EngineServicePhase
from machinectl_agent.phases.files import FilesPhase
from machinectl_agent.phases.host_packages import HostPackagesPhase
from machinectl_agent.phases.images import ImagesPhase
from machinectl_agent.phases.network import NetworkPhase
from machinectl_agent.phases.network_leave import NetworkGonePhase, NetworkLeavePhase
from machinectl_agent.phases.packages import PackagesPhase
from machinectl_agent.phases.sysctl import SysctlPhase
from machinectl_agent.phases.system import SystemPhase
from machinectl_agent.phases.tls import TlsPhase
from machinectl_agent.phases.volumes import VolumesPhase

PHASES: Tuple[Phase, ...] = (
    SystemPhase(),
    PackagesPhase(),
    HostPackagesPhase(),
    SysctlPhase(),
    FilesPhase(),
    TlsPhase(),
    ClusterStorePhase(),
    NetworkPhase(),
    NetworkLeavePhase(),
    EngineConfigPhase(),
    ClusterStoreGonePhase(),
    EngineServicePhase(),
    NetworkGonePhase(),
    VolumesPhase(),
    ContainersPhase(),
    AgentPhase(),
    ImagesPhase(),
)
