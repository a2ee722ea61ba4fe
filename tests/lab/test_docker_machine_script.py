"""`alias docker-machine=machinectl` keeps a script working: one as people have it, run by bash with `set -e`."""

from __future__ import annotations

import re
import subprocess

import pytest

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

NAMES = ("dms1", "dms2")

SCRIPT = r"""
set -euo pipefail
shopt -s expand_aliases
alias docker-machine=machinectl

section() { echo "== $1"; }

docker-machine create --driver generic --generic-ip-address="$IP1" --generic-ssh-key "$KEY" --generic-ssh-user=root \
  --engine-label zone=a --engine-label disk=ssd --engine-opt log-driver=json-file --engine-opt max-concurrent-downloads=4 \
  --engine-env FOO=bar --engine-insecure-registry registry.lan:5000 --tls-san docker.example.com dms1
export GENERIC_IP_ADDRESS=$IP2 GENERIC_SSH_KEY=$KEY GENERIC_SSH_USER=root GENERIC_SSH_PORT=22
docker-machine -D create -d generic --engine-label=zone=b dms2
unset GENERIC_IP_ADDRESS GENERIC_SSH_KEY GENERIC_SSH_USER GENERIC_SSH_PORT

section names
docker-machine ls -q
docker-machine ls --quiet --filter label=zone=b
docker-machine ls -q --filter state=Running --filter driver=generic --filter name=1
section table
docker-machine ls
docker-machine ls --format '{{.Name}}: {{.State}} {{.DriverName}} {{.URL}} {{.Active}}' | sort
section words
docker-machine ip dms1 dms2
docker-machine url dms1
docker-machine status dms1
docker-machine inspect -f '{{.Driver.IPAddress}} {{.DriverName}} {{.Driver.SSHUser}} {{.Driver.SSHPort}}' dms1
docker-machine inspect --format='{{json .HostOptions.EngineOptions.Labels}}' dms1
docker-machine inspect dms1 | grep -c '"ServerCertSANs"'
[[ $(docker-machine status dms2) == "Running" ]] && echo yes

section ssh
docker-machine ssh dms1 'echo "$HOSTNAME" && id -un'
docker-machine ssh dms1 -- cat /etc/docker/daemon.json | grep -o registry.lan:5000
docker-machine ssh dms1 -t -o LogLevel=ERROR "echo with options" | tr -d '\r'
echo piped | docker-machine ssh dms1 cat
docker-machine ssh dms1 'exit 7' || echo "status $?"

section scp
folder=$(mktemp -d)
echo moved > "$folder/it"
docker-machine scp "$folder/it" dms1:/root/it
docker-machine scp -q dms1:it root@dms2:/root/it2
docker-machine scp -r -q dms2:/root/it2 "localhost:$folder/back"
cat "$folder/back"
docker-machine ssh dms2 stat -c %U /root/it2
docker-machine scp dms1:/none . || echo "status $?"

section config
docker $(docker-machine config dms1) version --format '{{.Server.Os}}'
docker-machine config dms1 | xargs -I{} echo {} | cut -d= -f1
docker-machine config dms1 | xargs sh -c 'docker "$@" info --format "{{.Name}} {{.Labels}}"' sh

section env
eval $(docker-machine env dms1)
echo "$DOCKER_MACHINE_NAME $DOCKER_TLS_VERIFY"
docker-machine active
test -f "$DOCKER_CERT_PATH/ca.pem" && test -f "$DOCKER_CERT_PATH/cert.pem" && test -f "$DOCKER_CERT_PATH/key.pem"
docker info --format '{{.Name}}'
docker import -q - busybox:latest < "$BUSYBOX" >/dev/null 2>&1 || docker import - busybox:latest < "$BUSYBOX" >/dev/null
docker run --rm busybox echo from a container
eval "$(docker-machine env --no-proxy --shell bash dms2)"
docker-machine ls --filter name=dms -f '{{.Name}} {{.Active}}'
echo "$NO_PROXY"
for name in $(docker-machine ls -q); do
  eval "$(docker-machine env "$name")"
  docker info --format "$name {{.Name}}"
done
eval "$(docker-machine env -u)"
echo "<${DOCKER_HOST-}${DOCKER_MACHINE_NAME-}${DOCKER_CERT_PATH-}>"
docker-machine active || echo "none: $?"

section errors
docker-machine ip nobody || echo "status $?"
docker-machine create -d generic --generic-ip-address=192.0.2.9 --generic-ssh-key "$KEY" dms1 || echo "status $?"
docker-machine env -u dms1 || echo "status $?"
docker-machine status || echo "status $?"

section upkeep
docker-machine provision dms1 dms2
docker-machine stop dms2
docker-machine status dms2
docker-machine env dms2 || echo "status $?"
docker-machine start dms2
docker-machine status dms2
docker-machine version dms1
docker-machine --version

section gone
docker-machine rm -y dms1
echo y | docker-machine rm dms2
docker-machine ls -q
docker-machine rm -f dms2 || echo "status $?"
echo done
"""


@pytest.fixture(scope="module")
def hosts(make_host, lab):
    yield [make_host(name, suite) for name, suite in zip(NAMES, ("bookworm", "trixie"), strict=True)]
    lab.down(list(NAMES))


def test_the_script(hosts, new_controller, busybox, tmp_path):
    first, second = hosts
    (tmp_path / "busybox.tar").write_bytes(busybox)
    done = subprocess.run(
        ["bash", "-c", SCRIPT],
        env={
            **new_controller().env,
            "IP1": first.ip,
            "IP2": second.ip,
            "KEY": str(first.key),
            "BUSYBOX": str(tmp_path / "busybox.tar"),
            "SHELL": "/bin/bash",
        },
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    sections = dict(re.findall(r"^== (\w+)\n((?:(?!== ).*\n)*)", done.stdout, re.MULTILINE))
    said = {name: text.splitlines() for name, text in sections.items()}
    assert said["names"] == ["dms1", "dms2", "dms2", "dms1"]
    header, *rows = said["table"]
    assert header.split() == ["NAME", "ACTIVE", "DRIVER", "STATE", "URL", "SWARM", "DOCKER", "ERRORS"]
    assert rows[0].split()[:5] == ["dms1", "-", "generic", "Running", f"tcp://{first.ip}:2376"]
    assert rows[2:] == [
        f"dms1: Running generic tcp://{first.ip}:2376 -",
        f"dms2: Running generic tcp://{second.ip}:2376 -",
    ]
    assert said["words"] == [
        first.ip, second.ip, f"tcp://{first.ip}:2376", "Running", f"{first.ip} generic root 22",
        '["zone=a","disk=ssd"]', "1", "yes",
    ]  # fmt: skip
    assert said["ssh"] == ["dms1", "root", "registry.lan:5000", "with options", "piped", "status 7"]
    assert said["scp"] == ["moved", "root", "status 1"]
    # after a reload dockerd tells its labels in any order
    *flags, info = said["config"]
    assert flags == ["linux", "--tlsverify", "--tlscacert", "--tlscert", "--tlskey", "-H"]
    assert info in ("dms1 [zone=a disk=ssd]", "dms1 [disk=ssd zone=a]")
    assert said["env"] == [
        "dms1 1", "dms1", "dms1", "from a container", "dms1 -", "dms2 *", second.ip, "dms1 dms1", "dms2 dms2", "<>",
        "none: 1",
    ]  # fmt: skip
    assert said["errors"] == ["status 1"] * 4
    for words in (
        'Docker machine "nobody" does not exist',
        'Docker machine "dms1" already exists',
        "Error: Expected no machine name when the -u flag is present",
        'Error: No machine name(s) specified and no "default" machine exists',
        "Host is not running",
        "No active host found",
    ):
        assert words in done.stderr, words
    upkeep = said["upkeep"]
    assert [line for line in upkeep if line in ("Running", "Stopped") or line.startswith("status")] == [
        "Stopped", "status 1", "Running",
    ]  # fmt: skip
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", upkeep[-2])
    assert "machinectl" in upkeep[-1]
    gone = said["gone"]
    assert gone[-1] == "done"
    assert "About to remove dms1" in gone
    assert gone.count("Successfully removed dms1") == 1
    assert [line for line in gone if line.endswith("Successfully removed dms2")]
