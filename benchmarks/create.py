"""How long create, provision and env take on lab hosts, beside what the same takes without machinectl.

    sudo .venv/bin/python benchmarks/create.py [--suite bookworm] [--hosts 3] [--runs 5]

Boots a lab of its own, measures, removes it. Wall-clock seconds. What is compared runs in turn, so that a
machine whose speed drifts drifts for all of it: `create` on one bare host, a shell script of the same steps
over one ssh on the next one, and so on. Both include the packages' download, which is warmed up by a run of
the script that does not count. Exit status 1 where a target is missed.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from machinectl.lab.host import Host
from machinectl.lab.lab import HostWish, Lab
from machinectl.lab.settings import Settings
from machinectl.pki.authority import ensure_authority
from machinectl.pki.leaves import ensure_server

CREATE, SCRIPT = "create, bare host", "the same steps, shell script"
PROVISION, SSH = "provision (nothing to do)", "ssh host true"
ENV, PYTHON = "machinectl env", "python3 -c pass"

STEPS = r"""set -eu
export DEBIAN_FRONTEND=noninteractive
umask 022
cat > /etc/modules-load.d/machinectl.conf <<END
overlay
br_netfilter
END
cat > /etc/sysctl.d/99-machinectl.conf <<END
net.ipv4.ip_forward = 1
net.bridge.bridge-nf-call-iptables = 1
net.bridge.bridge-nf-call-ip6tables = 1
END
apt-get update -q
apt-get install -q -y --no-install-recommends docker.io
put /etc/docker/server-key.pem
put /etc/docker/server.pem
put /etc/docker/ca.pem
put /root/client/cert.pem
put /root/client/key.pem
cat > /etc/docker/daemon.json <<END
{
    "hosts": ["fd://", "tcp://0.0.0.0:2376"],
    "tlsverify": true,
    "tlscacert": "/etc/docker/ca.pem",
    "tlscert": "/etc/docker/server.pem",
    "tlskey": "/etc/docker/server-key.pem",
    "live-restore": true
}
END
mkdir -p /etc/systemd/system/docker.service.d
cat > /etc/systemd/system/docker.service.d/90-machinectl.conf <<'END'
[Service]
ExecStart=
ExecStart=/usr/sbin/dockerd --containerd=/run/containerd/containerd.sock $DOCKER_OPTS
Restart=always
END
systemctl daemon-reload
systemctl restart docker
cd /root/client
tries=0
until curl -fsS --cacert /etc/docker/ca.pem --cert cert.pem --key key.pem https://127.0.0.1:2376/_ping; do
    tries=$((tries + 1))
    [ $tries -lt 300 ]
    sleep 0.1
done
"""
"""What create does, as somebody would write it down; `put` stands for a file's contents. Without machinectl's
agent, its two units and its records, which are what create has to do on top."""

Rows = dict[str, list[float]]


@dataclass(frozen=True)
class Target:
    """A row's median against another row's, or in seconds, and what it may be at most."""

    row: str
    against: str
    at_most: float

    def measured(self, rows: Rows) -> float:
        own = statistics.median(rows[self.row])
        return own / statistics.median(rows[self.against]) if self.against else own

    def line(self, rows: Rows) -> str:
        name = f"{self.row} / {self.against}" if self.against else f"{self.row} (s)"
        verdict = "met" if self.met(rows) else "MISSED"
        return f"{name:52}{self.measured(rows):9.3f}{self.at_most:9.3f}   {verdict}"

    def met(self, rows: Rows) -> bool:
        return self.measured(rows) <= self.at_most


TARGETS = (
    Target(CREATE, SCRIPT, 1.3),
    Target(PROVISION, SSH, 5),
    Target(ENV, PYTHON, 5),
    Target(ENV, "", 0.08),
)


def timed(*words: object, stdin: str = "") -> float:
    """Seconds of one command that has to succeed."""
    began = time.perf_counter()
    done = subprocess.run(
        [str(word) for word in words], input=stdin, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode:
        sys.exit(f"{words}: {done.stdout}{done.stderr}")
    return time.perf_counter() - began


def script_for(host: Host, certs: Path) -> str:
    """The shell script for one host, with its certificates in it: made before the clock runs."""
    folder = certs.parent / host.name
    for one in (certs, folder):
        one.mkdir(parents=True, exist_ok=True)
    made = ensure_server(ensure_authority(certs), folder, (host.ip, host.name))
    files = {"server-key": made.server_key, "server": made.server, "ca": made.ca}
    texts = {f"/etc/docker/{name}.pem": path.read_text() for name, path in files.items()}
    texts |= {f"/root/client/{path.name}": path.read_text() for path in (made.cert, made.key)}
    script = STEPS
    for name, text in texts.items():
        script = script.replace(
            f"put {name}\n",
            f"install -D -m 600 /dev/null {name} && printf %s {shlex.quote(text)} > {name}\n",
        )
    return script


def timed_reboot(lab: Lab, name: str) -> float:
    """Until sshd answers again."""
    began = time.perf_counter()
    lab.reboot(name)
    return time.perf_counter() - began


def measure(lab: Lab, folder: Path, suite: str, count: int, runs: int) -> Rows:
    """Everything, in one lab. The lab is the caller's to take down."""
    key = lab.settings.key
    tool = [sys.executable, "-m", "machinectl", "-s", folder / "store"]
    ssh = ["ssh", "-i", key, "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null"]
    rows: Rows = {}

    def note(row: str, seconds: float) -> None:
        rows.setdefault(row, []).append(seconds)

    def run_script(host: Host) -> float:
        script = script_for(host, folder / "script" / "certs")
        return timed(*ssh, f"root@{host.ip}", "sh", "-s", stdin=script)

    (warm,) = lab.up([HostWish("warm", suite)])
    run_script(warm)
    lab.down([warm.name])
    names = [f"{kind}{number + 1}" for number in range(count) for kind in ("create", "script")]
    began = time.perf_counter()
    hosts = lab.up([HostWish(name, suite) for name in names])
    note(f"lab up, {len(names)} hosts", time.perf_counter() - began)
    ours = [host for host in hosts if host.name.startswith("create")]
    theirs = [host for host in hosts if host.name.startswith("script")]
    for mine, other in zip(ours, theirs, strict=True):
        note(CREATE, timed(*tool, "create", "--ip", mine.ip, "--ssh-key", key, mine.name))
        note(SCRIPT, run_script(other))
    for host in ours:
        for _ in range(runs):
            note(PROVISION, timed(*tool, "provision", host.name))
            note(SSH, timed(*ssh, f"root@{host.ip}", "true"))
            note(ENV, timed(*tool, "env", host.name))
            note(PYTHON, timed(sys.executable, "-c", "pass"))
    note("lab reboot", timed_reboot(lab, ours[0].name))
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--suite", default="bookworm")
    parser.add_argument("--hosts", type=int, default=3, help="of each kind")
    parser.add_argument("--runs", type=int, default=5, help="of each repeated command, on each host")
    args = parser.parse_args()
    settings = Settings(Path("/var/lib/machinectl-lab-bench"), bridge="mcbench0", subnet="198.19.200.0/24")
    lab = Lab(settings)
    lab.down()  # what a killed run left
    with tempfile.TemporaryDirectory(prefix="machinectl-bench.", dir="/var/tmp") as folder:
        try:
            rows = measure(lab, Path(folder), args.suite, args.hosts, args.runs)
        finally:
            lab.down()
    print(f"{f'seconds, {args.suite}':32}{'runs':>5}{'min':>9}{'median':>9}{'max':>9}")
    for name, values in rows.items():
        print(f"{name:32}{len(values):5}{min(values):9.3f}{statistics.median(values):9.3f}{max(values):9.3f}")
    print(f"\n{'medians':52}{'measured':>9}{'at most':>9}")
    for target in TARGETS:
        print(target.line(rows))
    return 0 if all(target.met(rows) for target in TARGETS) else 1


if __name__ == "__main__":
    sys.exit(main())
