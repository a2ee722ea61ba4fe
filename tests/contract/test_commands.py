"""The commands as processes: what they print, where, and with which exit status."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

import pytest

from machinectl.cli.main import COMMANDS
from machinectl.model import Machine, SshAddress
from machinectl.store.store import Store

BANNED = (
    "argparse",
    "asyncio",
    "cryptography",
    "dataclasses",
    "fabric",
    "importlib.metadata",
    "jinja2",
    "logging",
    "paramiko",
    "pathlib",
    "pydantic",
    "rich",
    "ssl",
    "typing",
)
"""What the fast commands do without: each of them costs milliseconds."""


@pytest.fixture
def listening():
    with socket.create_server(("127.0.0.1", 0), backlog=50) as server:
        yield server.getsockname()[1]


@pytest.fixture
def closed():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield port


@pytest.fixture
def store(tmp_path, listening, closed):
    store = Store(tmp_path / "store")
    ssh = SshAddress("127.0.0.1", 2200, "root")
    for name, ip, port in (("up", "127.0.0.1", listening), ("down", "127.0.0.1", closed), ("six", "::1", 1)):
        store.save(Machine(name, ip, ssh, engine_port=port, state="ready"))
    return store


@pytest.fixture
def call(store):
    def call(*words: str, given="", **environment):
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("DOCKER", "MACHINE"))}
        return subprocess.run(
            [sys.executable, "-m", "machinectl", *words],
            env={**clean, "MACHINECTL_STORAGE_PATH": str(store.path), "SHELL": "/bin/bash", **environment},
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    return call


def outcome(done):
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ("env", "up"),
        ("env", "--ssh", "up"),
        ("env", "--no-check", "--no-proxy", "up"),
        ("env", "-u"),
        ("env", "--help"),
        ("ip", "up", "six"),
        ("url", "up"),
        ("config", "up"),
        ("active",),
        ("ip", "missing"),
    ],
)
def test_the_fast_commands_import_nothing_heavy(store, words):
    script = (
        "import sys; before = set(sys.modules); from machinectl.cli.main import main; main(sys.argv[1:]);"
        "print('loaded:', *sorted(set(sys.modules) - before), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", script, *words],
        env={
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "MACHINECTL_STORAGE_PATH": str(store.path),
            "PATH": os.environ["PATH"],
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    loaded = done.stderr.rpartition("loaded:")[2].split()
    assert "machinectl.errors" in loaded
    assert [one for one in loaded if one.startswith(BANNED)] == []


def test_ip_and_url_of_several(call, listening):
    assert outcome(call("ip", "up", "six")) == (0, "127.0.0.1\n::1\n", "")
    assert outcome(call("url", "up")) == (0, f"tcp://127.0.0.1:{listening}\n", "")
    assert outcome(call("url", "--no-check", "six")) == (0, "tcp://[::1]:1\n", "")
    done = call("ip", "up", "missing", "six")
    assert (done.returncode, done.stdout) == (3, "127.0.0.1\n::1\n")
    assert 'Docker machine "missing" does not exist' in done.stderr


@pytest.mark.parametrize("command", ["env", "url", "config", "version"])
def test_a_stopped_engine(call, command):
    done = call(command, "down")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: down: Host is not running\n")
    assert "connection refused" in done.stderr


@pytest.mark.parametrize("command", ["env", "ip", "url", "config", "status", "inspect"])
def test_no_name_means_default(call, store, command, closed):
    done = call(command)
    wanted = 'Error: No machine name(s) specified and no "default" machine exists\n'
    assert outcome(done) == (1, "", wanted)
    store.save(Machine("default", "127.0.0.1", SshAddress("127.0.0.1"), engine_port=closed))
    assert "No machine name" not in call(command).stderr


def test_env_is_docker_machines(call, store, listening):
    done = call("env", "up")
    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        'export DOCKER_TLS_VERIFY="1"',
        f'export DOCKER_HOST="tcp://127.0.0.1:{listening}"',
        f'export DOCKER_CERT_PATH="{store.path}/machines/up"',
        'export DOCKER_MACHINE_NAME="up"',
        "# Run this command to configure your shell: ",
        f"# eval $({sys.executable} -m machinectl env up)",
    ]
    assert call("env", "--shell", "fish", "up").stdout.startswith('set -gx DOCKER_TLS_VERIFY "1";\n')
    assert call("env", "up", SHELL="/usr/bin/tcsh").stdout.startswith('setenv DOCKER_TLS_VERIFY "1";\n')
    refused = call("env", "-u", "up")
    assert outcome(refused) == (1, "", "Error: Expected no machine name when the -u flag is present\n")


def test_config_is_docker_machines(call, store, listening):
    folder = f"{store.path}/machines/up"
    assert call("config", "up").stdout.splitlines() == [
        "--tlsverify",
        f'--tlscacert="{folder}/ca.pem"',
        f'--tlscert="{folder}/cert.pem"',
        f'--tlskey="{folder}/key.pem"',
        f"-H=tcp://127.0.0.1:{listening}",
    ]


def test_active(call, listening, closed):
    nobody = (1, "", "error: No active host found\n")
    assert outcome(call("active")) == nobody
    assert outcome(call("active", DOCKER_HOST="tcp://10.0.0.1:2376")) == nobody
    assert outcome(call("active", DOCKER_HOST=f"tcp://127.0.0.1:{closed}")) == nobody
    assert outcome(call("active", DOCKER_HOST=f"tcp://127.0.0.1:{listening}")) == (0, "up\n", "")
    assert call("active", DOCKER_HOST="ssh://root@127.0.0.1:2200").returncode == 0
    assert call("active", "x").stderr == "Error: Too many arguments given\n"


def test_active_gives_up_in_time(call, store):
    # a full backlog drops the SYN: nothing answers, as on a host that is gone
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        port = server.getsockname()[1]
        fillers = [socket.socket() for _ in range(4)]
        try:
            for one in fillers:
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
            store.save(Machine("hung", "127.0.0.1", SshAddress("h"), engine_port=port))
            done = call("active", "-t", "0.3", DOCKER_HOST=f"tcp://127.0.0.1:{port}")
        finally:
            for one in fillers:
                one.close()
    assert outcome(done) == (1, "", "Error getting active host: timeout\n")


def test_inspect(call, store):
    document = json.loads(call("inspect", "up").stdout)
    assert list(document)[:5] == ["ConfigVersion", "Driver", "DriverName", "HostOptions", "Name"]
    assert document["Driver"]["SSHPort"] == 2200
    assert document["HostOptions"]["AuthOptions"]["StorePath"] == f"{store.path}/machines/up"
    assert (
        call("inspect", "-f", "{{.Driver.IPAddress}} {{.DriverName}}", "up").stdout == "127.0.0.1 generic\n"
    )
    assert json.loads(call("inspect", "-f", "{{json .Driver}}", "up").stdout) == document["Driver"]
    assert call("inspect", "-f", "{{.Nope}}", "up").returncode == 2


def test_inspect_shows_no_secret(call, store):
    engine = {"env": {"HTTP_PROXY": "http://u:hunter2@p"}, "options": {"mtu": 1400, "ipv6": True}}
    store.save(Machine("proxied", "::1", SshAddress("::1"), engine=engine))
    done = call("inspect", "proxied")
    assert "hunter2" not in done.stdout
    options = json.loads(done.stdout)["HostOptions"]["EngineOptions"]
    assert (options["Env"], options["ArbitraryFlags"], options["Ipv6"]) == (
        ["HTTP_PROXY=(hidden)"],
        ["mtu=1400"],
        True,
    )


def test_rm_asks_and_forgets(call, store):
    asked = call("rm", "up", given="n\n")
    assert asked.returncode == 0
    assert asked.stdout.startswith("About to remove up\nWARNING: ")
    assert asked.stdout.endswith("Are you sure? (y/n): ")
    assert call("rm", "up", given="").returncode == 0
    assert "up" in store.names()
    assert call("rm", "up", given="y\n").stdout.endswith("Successfully removed up\n")
    assert "up" not in store.names()
    assert call("rm", "-y", "up").returncode == 1
    assert call("rm", "-f", "up").returncode == 0
    assert call("rm").returncode == 2
    several = call("rm", "-y", "missing", "six")
    assert several.returncode == 3
    assert store.names() == ["down"]


def test_rm_of_a_damaged_record_wants_force(call, store):
    (store.folder("up") / "config.json").write_text("{")
    assert "rm -f up" in call("rm", "-y", "up").stderr
    assert call("rm", "-f", "up").returncode == 0
    assert store.names() == ["down", "six"]


def test_rm_leaves_a_machine_alone_that_is_in_use(call, store):
    with store.machine_lock("up"):
        for flag in ("-y", "-f"):
            done = call("rm", flag, "up")
            assert (done.returncode, "in use" in done.stderr) == (4, True)
    assert "up" in store.names()


def test_status_and_version_words(call):
    assert outcome(call("version"))[:2] == outcome(call("-v"))[:2]
    assert call("version").stdout.startswith("machinectl version ")
    done = call("status", "up")  # it listens, but there are no certificates
    assert (done.returncode, done.stdout) == (1, "Error\n")
    assert "certificates" in done.stderr


@pytest.mark.parametrize("verb", ["shell", "poweroff", "list-images", "list", "import-tar", "set-limit"])
def test_systemds_verbs_are_told_apart(call, verb):
    done = call(verb, "x")
    assert done.returncode == 2
    assert f"'{verb}' is a command of systemd's machinectl" in done.stderr
    assert "provisions Docker hosts" in done.stderr


def test_where_systemds_program_is(call, tmp_path, monkeypatch):
    other = tmp_path / "bin" / "machinectl"
    other.parent.mkdir()
    other.write_bytes(b"\x7fELF")
    done = call("--no-pager", "list", PATH=f"{other.parent}{os.pathsep}{os.environ['PATH']}")
    assert f"systemd's machinectl is {other}" in done.stderr
    from machinectl.cli import systemd  # noqa: PLC0415 - only here

    monkeypatch.setenv("PATH", str(tmp_path))
    if systemd.find_systemd() == "":
        assert "systemd-container" in call("shell", PATH=str(tmp_path)).stderr


def test_unknown_commands_and_options(call):
    done = call("lss")
    assert (done.returncode, "did you mean `machinectl ls`?" in done.stderr) == (2, True)
    assert call("-x").returncode == 2
    assert call("env", "-x").returncode == 2
    assert call("-s").returncode == 2
    assert call("ls", "--nope").returncode == 2


def test_help_names_every_command(call):
    done = call("--help")
    assert done.returncode == 0
    assert done.stdout == call().stdout == call("help").stdout
    for name, _, summary, _ in COMMANDS:
        assert f"{name} " in done.stdout
        assert summary in done.stdout


@pytest.mark.parametrize("name", [name for name, *_ in COMMANDS])
def test_every_command_has_help_with_examples(call, name):
    done = call(name, "--help")
    assert done.returncode == 0, done.stderr
    assert f"machinectl {name}" in done.stdout
    if name not in ("ssh", "agent", "lab"):
        assert "examples:" in done.stdout
    assert call("help", name).stdout == done.stdout


def test_the_store_is_chosen_by_option_before_variables(call, tmp_path):
    done = call("-s", str(tmp_path / "other"), "ls", "-q")
    assert outcome(done) == (0, "", "")
    assert call(f"--storage-path={tmp_path}/other", "ip", "up").returncode == 1
    docker_machine = {"MACHINE_STORAGE_PATH": str(tmp_path / "store"), "MACHINECTL_STORAGE_PATH": ""}
    assert call("ip", "up", **docker_machine).stdout == "127.0.0.1\n"


def test_an_error_has_a_traceback_only_with_debug(call):
    assert "Traceback" not in call("ip", "missing").stderr
    done = call("--debug", "ip", "missing")
    assert (done.returncode, "Traceback" in done.stderr) == (1, True)


def test_a_reader_that_goes_away_is_no_error(store):
    for number in range(50):
        store.save(Machine(f"n{number}", "::1", SshAddress("::1")))
    command = f"{sys.executable} -m machinectl -s '{store.path}' ls -q | true; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=60)
    assert outcome(done) == (0, "0\n", "")


def test_interrupted(store):
    command = [sys.executable, "-m", "machinectl", "-s", str(store.path), "rm", "up"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as asking:
        assert asking.stdout is not None
        while "(y/n)" not in (seen := asking.stdout.read(1)) and not seen.endswith(":"):
            assert seen
        asking.send_signal(2)
        _, errors = asking.communicate(timeout=30)
    assert asking.returncode == 130
    assert errors == "interrupted\n"
