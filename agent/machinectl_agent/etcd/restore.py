"""A member's data made anew from a snapshot (etcd.io, "Disaster recovery"), in two stages.

prepare   the snapshot is checked and unpacked beside the data; nothing changes yet, on any member
swap      the server is stopped, its data are moved aside, the new ones take their place

Both may be done again after a kill: a member whose MEMBERSHIP is the new one has been swapped.
"""

from __future__ import annotations

from machinectl_agent.etcd import programs
from machinectl_agent.etcd.aside import move_data_aside
from machinectl_agent.etcd.member import MEMBERSHIP, write_membership
from machinectl_agent.etcd.spec import DATA, EtcdSpec
from machinectl_agent.etcd.unit import UNIT, last_words
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Work
from machinectl_agent.problems import Problem

FRESH = f"{DATA}.restored"
SNAPSHOT = "/var/lib/machinectl/etcd-snapshot.db"
"""Where the controller puts the file."""
RESTORE_DEADLINE = 300.0


def prepare(work: Work, spec: EtcdSpec) -> None:
    """Raises `Problem` where the snapshot can't be restored here."""
    host = work.host
    if is_swapped(host, spec):
        host.remove(SNAPSHOT)
        return
    folder = programs.folder(host, spec.binaries)
    tool = f"{folder}/etcdutl" if host.exists(f"{folder}/etcdutl") else f"{folder}/etcdctl"
    host.must("rm", "-rf", str(host.path(FRESH)), deadline=120)
    cluster = ",".join(f"{name}={url}" for name, url in sorted(spec.cluster.items()))
    work.log("unpacking the snapshot")
    done = host.run(
        tool, "snapshot", "restore", SNAPSHOT, "--name", spec.name, "--data-dir", FRESH,
        "--initial-cluster", cluster, "--initial-cluster-token", spec.token,
        "--initial-advertise-peer-urls", spec.cluster[spec.name], deadline=RESTORE_DEADLINE, env={"ETCDCTL_API": "3"},
    )  # fmt: skip
    host.remove(SNAPSHOT)
    if not done.ok:
        host.run("rm", "-rf", str(host.path(FRESH)), deadline=120)
        raise Problem(
            "etcd-restore-failed",
            "the snapshot can't be restored",
            why=last_words(done.stderr + done.stdout, lines=2),
            hint="nothing has changed; is the file one that `machinectl etcd backup` wrote?",
        )


def swap(work: Work, spec: EtcdSpec) -> None:
    """Leaves the server stopped, with the snapshot's data."""
    host = work.host
    if is_swapped(host, spec):
        return
    if not host.path(f"{FRESH}/member/wal").is_dir():
        raise Problem(
            "etcd-restore-missing", f"there is no unpacked snapshot in {FRESH}", hint="run the restore again"
        )
    host.run("systemctl", "stop", UNIT, deadline=120)
    # a member that is not stopped would go on writing into the folder that is moved
    if host.run("systemctl", "is-active", UNIT, deadline=20).stdout.strip() == "active":
        raise Problem(
            "etcd-does-not-stop", f"{UNIT} does not stop", hint=f"`journalctl -u {UNIT}` on the host"
        )
    move_data_aside(work)
    if host.exists(DATA):
        host.path(DATA).rmdir()
    host.path(FRESH).rename(host.path(DATA))
    write_membership(host, spec)


def is_swapped(host: Host, spec: EtcdSpec) -> bool:
    present = (host.read(MEMBERSHIP) or "").strip()
    return present == spec.incarnation and host.path(f"{DATA}/member/wal").is_dir()
