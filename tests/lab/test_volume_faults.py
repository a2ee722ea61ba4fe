"""Whatever dies while a volume is copied: its containers run again, nothing is lost, and the same command finishes."""

from __future__ import annotations

import signal
import subprocess

import pytest

from machinectl.actions.volume.ask import ask_volumes
from machinectl.errors import MachinectlError
from machinectl.remote.become import Become
from machinectl.store.store import Store
from tests.lab.test_network_faults import host_link
from tests.lab.test_volume import Shop, clean, data, lines, shop  # noqa: F401 - fixtures
from tests.waiting import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]

AGENT = "^[^ ]*python[^ ]* -IS* /opt/machinectl/agent/[0-9a-f]*"
"""How a command of the agent's looks to pgrep."""


KEEPER = r"""
import glob, json, os, socket, subprocess
agent = max(glob.glob("/opt/machinectl/agent/*"), key=os.path.getmtime)
keeper = subprocess.Popen(["python3", "-I", agent, "hold"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
keeper.stdin.write(json.dumps({"place": "db", "action": "pause", "stall": 60}).encode() + b"\n")
print(keeper.stdout.readline())
os.rename("/run/docker.sock", "/run/docker.away")
deaf = socket.socket(socket.AF_UNIX)
try:
    deaf.bind("/run/docker.sock")
    deaf.listen()
    keeper.stdin.write(b"r")
    deaf.accept()[0].close()
finally:
    os.rename("/run/docker.away", "/run/docker.sock")
deaf.close()
print(keeper.stdout.read(), keeper.wait())
"""
"""Holds a container, and hears nothing of dockerd when it is to say whether all is as it was."""


@pytest.fixture
def store_of(shop: Shop):  # noqa: F811
    """A volume of 100 MB beside a database that writes all the time."""
    one = next(iter(shop.hosts))
    shop.volume("create", f"{one}:db")
    shop.hosts[one].run(f"head -c 100000000 /dev/urandom > {data('db')}/m")
    shop.writer(one, "db", more="--restart unless-stopped")
    return one


def stuck(shop, name, *words, held="paused"):  # noqa: F811
    """A backup that stands still in the middle: nobody reads what it writes."""
    process = shop.controller.start(
        "volume", "backup", *words, "--compress", "none", f"{name}:db", "-", errors="replace"
    )
    until(lambda: shop.state(name, "writer") == held)
    return process


def holders(shop, name, verb):  # noqa: F811
    """Process ids of the agent's side (`carry`) or of the keeper (`hold`)."""
    found = shop.hosts[name].run(f"pgrep -f '{AGENT} {verb}$'", check=False)
    return found.stdout.split()


def runs(shop, name):  # noqa: F811
    return shop.docker(name, "inspect -f '{{.State.Status}}' writer", check=False) == "running"


def ends(process):
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def test_the_controller_is_killed_in_a_backup(shop, store_of, tmp_path):  # noqa: F811
    process = stuck(shop, store_of)
    process.kill()
    until(lambda: runs(shop, store_of))
    until(lambda: not holders(shop, store_of, "(carry|hold)"))
    process.communicate()
    shop.volume("backup", "--compress", "none", f"{store_of}:db", tmp_path / "db.tar")
    first, last = lines(tmp_path / "db.tar", tmp_path / "unpacked")
    assert first - last in (0, 1)


def test_the_agent_is_killed_in_a_backup(shop, store_of):  # noqa: F811
    process = stuck(shop, store_of)
    shop.hosts[store_of].run(f"kill -9 {' '.join(holders(shop, store_of, 'carry'))}")
    until(lambda: runs(shop, store_of))
    status, err = ends(process)
    assert status == 1
    assert f"error: {store_of}: " in err


def test_the_keeper_is_killed_in_a_backup(shop, store_of):  # noqa: F811
    """Its record is found by the agent's daemon; the copy itself notices that nobody held the containers any more."""
    process = stuck(shop, store_of)
    shop.hosts[store_of].run(f"kill -9 {' '.join(holders(shop, store_of, 'hold'))}")
    until(lambda: runs(shop, store_of))
    process.stdout.read()
    status, err = ends(process)
    assert status == 1
    assert "the copy is not of one moment" in err
    assert "was killed" in err


def test_everything_is_killed_in_a_backup(shop, store_of):  # noqa: F811
    """Nobody is left but the record and the daemon."""
    process = stuck(shop, store_of, "--stop", held="exited")
    process.kill()
    shop.hosts[store_of].run(f"kill -9 {' '.join(holders(shop, store_of, '(carry|hold)'))}", check=False)
    until(lambda: runs(shop, store_of))
    process.communicate()


def test_the_next_run_lets_containers_go_on(shop, store_of):  # noqa: F811
    """Without a daemon."""
    host = shop.hosts[store_of]
    host.run("systemctl stop machinectl-agent")
    try:
        process = stuck(shop, store_of)
        # the keeper first: it would let them go on at the end of the other
        host.run(f"kill -9 {' '.join(holders(shop, store_of, 'hold') + holders(shop, store_of, 'carry'))}")
        process.communicate(timeout=60)
        assert shop.state(store_of, "writer") == "paused"
        shop.volume("ls", store_of)
        until(lambda: runs(shop, store_of))
    finally:
        host.run("systemctl start machinectl-agent")


def test_dockerd_does_not_answer_at_the_end(shop, store_of):  # noqa: F811
    """The keeper itself lets the containers go on; the daemon, which would do it later, is away."""
    host = shop.hosts[store_of]
    host.run("systemctl stop machinectl-agent")
    try:
        shop.volume("ls", store_of)
        said = host.run("python3 -", stdin=KEEPER)
        assert '"held"' in said.stdout
        assert runs(shop, store_of), said.stdout
    finally:
        host.run("systemctl start machinectl-agent")


def test_a_power_cut_in_a_backup(shop, store_of, lab):  # noqa: F811
    """`unless-stopped`: Docker itself would leave it stopped for ever."""
    process = stuck(shop, store_of, "--stop", held="exited")
    lab.host(store_of).power_cut()
    process.kill()
    process.communicate()
    lab.start(store_of)
    until(lambda: runs(shop, store_of), 180.0)


def test_the_connection_is_cut_in_a_backup(shop, store_of, tmp_path):  # noqa: F811
    """No byte moves and no end comes: the containers don't wait for TCP to give up."""
    process = stuck(shop, store_of, "--stall", "4")
    link = host_link(shop.hosts[store_of])
    subprocess.run(["ip", "link", "set", link, "down"], check=True)
    try:
        until(lambda: runs(shop, store_of))
    finally:
        subprocess.run(["ip", "link", "set", link, "up"], check=True)
    process.stdout.read()
    status, err = ends(process)
    assert (status, "nothing was copied for 4 s" in err) == (1, True), err
    until(lambda: shop.volume("backup", f"{store_of}:db", tmp_path / "b", check=False).returncode == 0)


def test_a_container_that_comes_meanwhile_is_noticed(shop, store_of):  # noqa: F811
    process = stuck(shop, store_of)
    shop.docker(store_of, "run -d --name late -v db:/data busybox sleep infinity")
    process.stdout.read()
    status, err = ends(process)
    assert (status, "container late was started while the copy was made" in err) == (1, True), err
    until(lambda: runs(shop, store_of))


def test_a_container_that_came_and_went_is_noticed(shop, store_of):  # noqa: F811
    """dockerd tells of named volumes even when the container is gone; it may have written where tar does not see it."""
    one = store_of
    shop.hosts[one].run("mkdir -p /srv/site; head -c 100000000 /dev/urandom > /srv/site/m")
    shop.volume("create", f"{one}:bound", "-o", "type=none", "-o", "o=bind", "-o", "device=/srv/site")
    process = stuck(shop, one)
    shop.docker(one, "run --rm --name reads -v db:/data:ro busybox true")
    shop.docker(one, "run --rm --name other -v another:/data busybox true")
    process.stdout.read()
    assert ends(process)[0] == 0
    for name, volume in (("job", "db"), ("job", data("db"))):
        process = stuck(shop, one)
        rm = "--rm" if volume == "db" else ""
        shop.docker(one, f"run {rm} --name {name} -v {volume}:/data busybox true")
        process.stdout.read()
        status, err = ends(process)
        assert (status, f"container {name} was started while the copy was made" in err) == (1, True), err
        until(lambda: runs(shop, one))
    # nobody has it when the copy begins; by another volume that is the same folder; more happens than dockerd keeps
    process = shop.controller.start(
        "volume", "backup", "--compress", "none", f"{one}:/srv/site", "-", errors="replace"
    )
    until(lambda: holders(shop, one, "carry"))
    process.stdout.read(1)
    shop.docker(one, "run --rm --name job2 -v bound:/data busybox true")
    shop.hosts[one].run(
        "for i in $(seq 150); do docker volume create x$i; docker volume rm x$i; done >/dev/null"
    )
    process.stdout.read()
    status, err = ends(process)
    assert (status, "container job2 was started while the copy was made" in err) == (1, True), err


def test_a_job_between_the_copy_and_the_removal(shop, store_of):  # noqa: F811
    """The source of a migrate stays: it is removed by what the agent said when it was read."""
    one = store_of
    shop.docker(one, "rm -f writer")
    shop.hosts[one].run("mkdir -p /srv/site; seq 1000 > /srv/site/a")
    store = Store(shop.controller.store)

    def ask(op, name, **more):
        return ask_volumes(store, one, {"op": op, "name": name, **more}, become=Become())

    for name, why in (
        ("db", "container job was started after it was copied"),
        ("/srv/site", "other contents"),
    ):
        shop.docker(one, f"run --rm --name early -v {name}:/data busybox touch /data/early")
        read = ask("digest", name)
        shop.docker(one, f"run --rm --name job -v {name}:/data busybox touch /data/late")
        with pytest.raises(MachinectlError, match="has changed since it was copied, and stays") as told:
            ask("rm", name, copied=read)
        assert why in told.value.why
        read = ask("digest", name)
        # another volume's job, and more events than dockerd keeps
        more = "for i in $(seq 150); do docker volume create x$i; docker volume rm x$i; done >/dev/null"
        shop.hosts[one].run(f"docker run --rm -v other:/data busybox true; {more if name == 'db' else ':'}")
        assert ask("rm", name, copied=read)["removed"]


def test_two_copies_hold_a_container_one_after_the_other(shop, store_of, tmp_path):  # noqa: F811
    """Else the first to end would let it go on under the second."""
    first = stuck(shop, store_of)
    second = shop.controller.start(
        "volume", "backup", "--compress", "none", f"{store_of}:db", tmp_path / "db.tar"
    )
    assert "waiting for another copy, which holds container writer" in second.stderr.readline()
    assert second.poll() is None
    first.stdout.read()
    assert ends(first)[0] == 0
    assert ends(second)[0] == 0
    one, other = lines(tmp_path / "db.tar", tmp_path / "unpacked")
    assert one - other in (0, 1)
    until(lambda: runs(shop, store_of))


def test_ctrl_c_leaves_no_file(shop, store_of, tmp_path):  # noqa: F811
    process = shop.controller.start("volume", "backup", f"{store_of}:db", tmp_path / "db.tar")
    until(lambda: process.poll() is not None or shop.state(store_of, "writer") == "paused")
    process.send_signal(signal.SIGINT)
    assert ends(process)[0] in (0, 130)
    until(lambda: runs(shop, store_of))
    assert [one.name for one in tmp_path.iterdir()] in ([], ["db.tar"])


def test_the_controller_is_killed_in_a_migrate(shop, store_of):  # noqa: F811
    one, two = shop.hosts
    shop.docker(one, "rm -f writer")
    wanted = shop.listing(one, data("db"))
    process = shop.controller.start("volume", "migrate", f"{one}:db", two)
    # in the middle, where its agent waits until the controller is gone
    middle = "ls /var/lib/docker/volumes | grep -q staging"
    shop.hosts[two].run(f"until {middle}; do :; done; kill -STOP $(pgrep -f '{AGENT} carry$')")
    process.kill()
    process.communicate()
    # a child that had not become tar yet when it was stopped is called otherwise now
    shop.hosts[two].run("pkill -CONT .", check=False)
    assert shop.listing(one, data("db")) == wanted
    until(lambda: not holders(shop, one, "carry") and not holders(shop, two, "carry"))
    said = shop.volume("migrate", f"{one}:db", two)
    assert (shop.volumes(one), shop.volumes(two)) == ([], ["db"]), said.stderr
    assert shop.listing(two, data("db")) == wanted


def test_a_migrate_that_was_cut_off_before_the_source_went(shop, store_of):  # noqa: F811
    one, two = shop.hosts
    shop.docker(one, "rm -f writer")
    shop.volume("clone", f"{one}:db", two)
    said = shop.volume("migrate", f"{one}:db", two)
    assert "an earlier run was cut off" in said.stderr
    assert (shop.volumes(one), shop.volumes(two)) == ([], ["db"])
    # one that is another is never taken for it
    shop.volume("clone", f"{two}:db", one)
    shop.hosts[two].run(f"touch -d yesterday {data('db')}/m")
    assert "not empty" in shop.volume("migrate", f"{one}:db", two, check=False).stderr
    assert shop.volumes(one) == ["db"]


def test_the_destination_dies_in_a_migrate(shop, store_of):  # noqa: F811
    one, two = shop.hosts
    shop.docker(one, "rm -f writer")
    process = shop.controller.start("volume", "migrate", f"{one}:db", two)
    # in the middle: one that dies before it has its orders is started anew
    middle = "ls /var/lib/docker/volumes | grep -q staging"
    shop.hosts[two].run(f"until {middle}; do :; done; kill -9 $(pgrep -f '{AGENT} carry$')")
    status, err = ends(process)
    assert status == 1, err
    assert shop.volumes(one) == ["db"]
    shop.volume("migrate", f"{one}:db", two)
    assert (shop.volumes(one), shop.volumes(two)) == ([], ["db"])
