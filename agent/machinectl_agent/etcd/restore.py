"""A member's data made anew from a snapshot (etcd.io, "Disaster recovery"). The old data are moved aside."""

from __future__ import annotations

from machinectl_agent.etcd.member import UNIT, move_data_aside
from machinectl_agent.etcd.spec import DATA, EtcdSpec
from machinectl_agent.phases.base import Work
from machinectl_agent.problems import Problem


def restore(work: Work, spec: EtcdSpec, snapshot: str) -> None:
    """Leaves the member stopped, with the snapshot's data. Raises `Problem`; the old data are kept in any case."""
    host = work.host
    tool = "etcdutl" if host.which("etcdutl") else "etcdctl"
    fresh = f"{DATA}.restored"
    host.run("rm", "-rf", str(host.path(fresh)), deadline=120)
    cluster = ",".join(f"{name}={url}" for name, url in sorted(spec.cluster.items()))
    done = host.run(
        tool, "snapshot", "restore", snapshot, "--name", spec.name, "--data-dir", fresh,
        "--initial-cluster", cluster, "--initial-cluster-token", spec.token,
        "--initial-advertise-peer-urls", spec.cluster[spec.name], deadline=300, env={"ETCDCTL_API": "3"},
    )  # fmt: skip
    if not done.ok:
        raise Problem(
            "etcd-restore-failed",
            "the snapshot can't be restored",
            why=done.tail(),
            hint="the old data are as they were",
        )
    host.run("systemctl", "stop", UNIT, deadline=120)
    move_data_aside(work)
    host.path(fresh).rename(host.path(DATA))
    host.remove(snapshot)
