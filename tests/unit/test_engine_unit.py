"""docker.service's command lines as distributions and other tools leave them, and our drop-in."""

from __future__ import annotations

import json

import pytest

from machinectl_agent.engine import daemon_json, unit
from machinectl_agent.host import Completed, Host
from machinectl_agent.phases.engine_service import journal_since
from machinectl_agent.problems import Problem
from machinectl_agent.redact import redact_document, redact_text
from machinectl_agent.spec import EngineSpec

DEBIAN = "/usr/sbin/dockerd -H fd:// $DOCKER_OPTS"
DOCKER_CE = "/usr/bin/dockerd -H fd:// --containerd=/run/containerd/containerd.sock"
FEDORA = """/usr/bin/dockerd \\
          --host=fd:// \\
          --exec-opt native.cgroupdriver=systemd \\
          --log-driver=journald \\
          --init-path /usr/libexec/docker/docker-init \\
          --selinux-enabled \\
          $OPTIONS
"""
DOCKER_MACHINE = (
    "/usr/bin/dockerd -H tcp://0.0.0.0:2376 -H unix:///var/run/docker.sock --storage-driver overlay2 "
    "--tlsverify "
    "--tlscacert /etc/docker/ca.pem --tlscert /etc/docker/server.pem --tlskey /etc/docker/server-key.pem "
    "--label provider=generic"
)


def host_with(tmp_path, files):
    for name, text in files.items():
        path = tmp_path / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Host(str(tmp_path))


def wanted(host, **engine):
    return daemon_json.wanted(daemon_json.observe(host), EngineSpec(**engine))


def start_of(text):
    return [line for line in text.splitlines() if line.startswith("ExecStart=")]


@pytest.mark.parametrize(
    ("start", "left"),
    [
        (DEBIAN, "/usr/sbin/dockerd $DOCKER_OPTS"),
        (DOCKER_CE, "/usr/bin/dockerd --containerd=/run/containerd/containerd.sock"),
        (
            FEDORA,
            "/usr/bin/dockerd --exec-opt=native.cgroupdriver=systemd --log-driver=journald "
            "--init-path=/usr/libexec/docker/docker-init --selinux-enabled=true $OPTIONS",
        ),
    ],
)
def test_the_drop_in_keeps_all_but_where_dockerd_listens(tmp_path, start, left):
    host = host_with(tmp_path, {"/usr/lib/systemd/system/docker.service": f"[Service]\nExecStart={start}\n"})
    made = wanted(host)
    assert start_of(made.drop_in) == ["ExecStart=", f"ExecStart={left}"]
    assert made.document["hosts"] == ["fd://", "tcp://0.0.0.0:2376"]


def test_a_flag_that_daemon_json_sets_too_moves_there(tmp_path):
    host = host_with(tmp_path, {"/lib/systemd/system/docker.service": f"[Service]\nExecStart={FEDORA}\n"})
    made = wanted(host, options={"log-driver": "json-file", "exec-opts": ["isolation=x"]})
    assert made.document["log-driver"] == "json-file"
    assert made.document["exec-opts"] == ["isolation=x", "native.cgroupdriver=systemd"]
    assert "--log-driver" not in made.drop_in
    assert "--exec-opt" not in made.drop_in


def test_docker_machines_drop_in_is_read_and_its_listening_flags_go(tmp_path):
    files = {
        "/lib/systemd/system/docker.service": f"[Service]\nExecStart={DEBIAN}\n",
        "/etc/systemd/system/docker.service.d/10-machine.conf": (
            f"[Service]\nExecStart=\nExecStart={DOCKER_MACHINE}\n"
        ),
    }
    made = wanted(host_with(tmp_path, files), options={"labels": ["site=a"]})
    assert made.document["labels"] == ["site=a", "provider=generic"]
    assert start_of(made.drop_in)[1] == "ExecStart=/usr/bin/dockerd --storage-driver=overlay2"


def test_an_open_2375_of_earlier_days_does_not_survive(tmp_path):
    files = {
        "/lib/systemd/system/docker.service": f"[Service]\nExecStart={DEBIAN}\n",
        "/etc/default/docker": 'DOCKER_OPTS="-H tcp://0.0.0.0:2375 --dns 9.9.9.9 --frobnicate"\n',
        daemon_json.FILE: '{"hosts": ["tcp://0.0.0.0:2375", "fd://"], "debug": true}',
    }
    made = wanted(host_with(tmp_path, files))
    assert "2375" not in made.text + made.drop_in
    assert made.document["debug"] is True
    # the variable held a listening flag: it is spelled out without it
    assert start_of(made.drop_in)[1] == "ExecStart=/usr/sbin/dockerd --dns=9.9.9.9 --frobnicate"


def test_flags_of_every_kind_survive_the_drop_in(tmp_path):
    start = (
        "/usr/bin/dockerd --default-address-pool base=10.88.0.0/16,size=24 --log-opt max-size=10m --mtu $MTU "
        '--label "a=100%%" --default-ulimit nofile=1:2 --seccomp-profile "/etc/a b.json"'
    )
    host = host_with(tmp_path, {"/lib/systemd/system/docker.service": f"[Service]\nExecStart={start}\n"})
    assert start_of(wanted(host).drop_in)[1] == (
        "ExecStart=/usr/bin/dockerd --default-address-pool=base=10.88.0.0/16,size=24 --log-opt=max-size=10m "
        '--label=a=100%% --default-ulimit=nofile=1:2 "--seccomp-profile=/etc/a b.json" --mtu $MTU'
    )
    folded = wanted(
        host,
        options={
            "log-opts": {"max-file": "3"},
            "default-address-pools": [{"base": "10.9.0.0/16", "size": 24}],
        },
    )
    assert folded.document["log-opts"] == {"max-size": "10m", "max-file": "3"}
    assert [one["base"] for one in folded.document["default-address-pools"]] == [
        "10.9.0.0/16",
        "10.88.0.0/16",
    ]


def test_a_unit_without_a_socket_keeps_dockerds_own(tmp_path):
    unit_text = "[Service]\nExecStart=/usr/local/bin/dockerd\n"
    host = host_with(tmp_path, {"/etc/systemd/system/docker.service": unit_text})
    assert wanted(host).document["hosts"] == ["unix:///var/run/docker.sock", "tcp://0.0.0.0:2376"]


def test_a_command_line_that_can_not_be_read_is_named(tmp_path):
    host = host_with(
        tmp_path, {"/lib/systemd/system/docker.service": '[Service]\nExecStart=/x/dockerd --label "a\n'}
    )
    with pytest.raises(Problem, match="can't be read"):
        wanted(host)


def test_docker_opts_that_collide_with_nothing_stay_a_variable(tmp_path):
    files = {
        "/lib/systemd/system/docker.service": f"[Service]\nExecStart={DEBIAN}\n",
        "/etc/default/docker": "# DOCKER_OPTS='-H tcp://1:2'\nDOCKER_OPTS='--dns 9.9.9.9'\n",
    }
    host = host_with(tmp_path, files)
    assert start_of(wanted(host).drop_in)[1] == "ExecStart=/usr/sbin/dockerd $DOCKER_OPTS"
    collided = wanted(host, options={"dns": ["1.1.1.1"]})
    assert collided.document["dns"] == ["1.1.1.1", "9.9.9.9"]
    assert start_of(collided.drop_in)[1] == "ExecStart=/usr/sbin/dockerd"


def test_writing_what_is_wanted_leaves_nothing_to_want(tmp_path):
    files = {
        "/lib/systemd/system/docker.service": f"[Service]\nExecStart={FEDORA}\n",
        daemon_json.FILE: '{"labels": ["own=1"], "mtu": 1500}',
    }
    host = host_with(tmp_path, files)
    wish = {"options": {"labels": ["site=a"], "mtu": 1400, "log-driver": "local"}, "env": {"A": 'x"$y`z\\'}}
    first = wanted(host, **wish)
    host.write(daemon_json.FILE, first.text)
    host.write(daemon_json.RECORD, first.record_text)
    host.write(unit.DROP_IN, first.drop_in)
    host.write(unit.ENVIRONMENT, first.environment)
    again = wanted(host, **wish)
    assert again == first
    assert again.text == host.read(daemon_json.FILE)
    plain = wanted(host)
    assert plain.document["labels"] == ["own=1"]
    assert plain.document["mtu"] == 1500
    assert plain.document["log-driver"] == "journald"


def test_a_member_of_a_swarm_gets_no_live_restore(tmp_path):
    host = host_with(tmp_path, {"/var/lib/docker/swarm/docker-state.json": '{"LocalAddr": "x"}'})
    assert "live-restore" not in wanted(host).document


def test_live_restore_can_be_asked_away(tmp_path):
    assert wanted(host_with(tmp_path, {}), options={"live-restore": False}).document["live-restore"] is False


def test_the_environment_file_is_quoted_for_systemd():
    assert (
        daemon_json.render_environment({"B": 'a"b\\c$d`e', "A": "1 2"}) == 'A="1 2"\nB="a\\"b\\\\c\\$d\\`e"\n'
    )


def test_a_plan_shows_no_secret_of_daemon_json():
    text = (
        '{\n    "log-opts": {\n        "splunk-token": "ab\\"c",\n        "gelf-address": "udp://h:1"\n    },\n'
        '    "proxies": {"http-proxy": "http://user:word@proxy:3128"}\n}'
    )
    shown = redact_text(text)
    assert "ab" not in shown.replace("splunk", "")
    assert "word" not in shown
    assert '"gelf-address": "udp://h:1"' in shown
    assert "http://(hidden)@proxy:3128" in shown
    document = redact_document(json.loads(text))
    assert document["log-opts"] == {"splunk-token": "(hidden)", "gelf-address": "udp://h:1"}
    assert document["proxies"] == {"http-proxy": "http://(hidden)@proxy:3128"}


class Journal(Host):
    """A host whose journal says this."""

    def __init__(self, *lines):
        self.text = "\n".join(lines)

    def run(self, *words, **_):
        return Completed(0, self.text if "-u" in words else "", "")


OLD = 'time="2026-01-01T08:00:00Z" level=error msg="Failed to get event" error="transport is closing"'
CHATTER = 'time="2026-01-01T08:00:01Z" level=info msg="Starting up"'
BARE = "failed to mkdir /proc/nowhere: no such file or directory"
FATAL = "failed to start daemon: no space left on device"


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["Stopping docker.service", OLD, "docker.service: Succeeded.", CHATTER, BARE], [OLD, BARE]),
        ([CHATTER, FATAL, "Failed to start docker.service"], [FATAL]),
        ([CHATTER, "Started docker.service"], [CHATTER, "Started docker.service"]),
    ],
)
def test_dockerds_last_words_are_told_whoever_spoke_before(lines, told):
    assert journal_since(Journal(*lines), "").splitlines() == told
