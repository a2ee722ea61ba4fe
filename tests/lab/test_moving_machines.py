"""A store that is copied, and a machine that goes to other stores in a file: the engine answers, nothing changes on
the host."""

from __future__ import annotations

import os
import pty
import shutil
import sys

import pytest

from machinectl.pki.authority import ensure_authority
from machinectl.store.store import Store

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def home(make_host, new_controller):
    controller = new_controller()
    controller.host = make_host("move1", engine=True)
    controller.create(controller.host, "--engine-label", "zone=a")
    return controller


def check(home, controller):
    """The engine answers over TLS, and a provision neither writes its files nor touches dockerd."""
    assert controller.docker("move1", "info", "-f", "{{.Name}}") == "move1"
    look = "pidof dockerd; stat -c '%n %Y' /etc/docker/* /etc/systemd/system/docker.service.d/*"
    before = home.host.run(look).stdout
    assert "is ready at tcp://" in controller.run("provision", "move1").stderr
    assert home.host.run(look).stdout == before
    assert controller.docker("move1", "info", "-f", "{{.Labels}}") == "[zone=a]"


def test_a_store_that_was_copied_or_moved(home, new_controller):
    colleague = new_controller()
    shutil.copytree(home.store, colleague.store)
    assert str(home.store) not in (colleague.store / "machines/move1/config.json").read_text()
    check(home, colleague)
    colleague.store.rename(colleague.home / "elsewhere")
    colleague.store = colleague.home / "elsewhere"
    colleague.env["MACHINECTL_STORAGE_PATH"] = str(colleague.store)
    check(home, colleague)


@pytest.mark.parametrize("with_ca", [False, True])
@pytest.mark.parametrize("own_ca", [False, True])
def test_a_machine_in_a_file(home, new_controller, tmp_path, with_ca, own_ca):
    colleague = new_controller()
    if own_ca:
        ensure_authority(Store(colleague.store).certs)
    secret = tmp_path / "secret"
    secret.write_text("correct horse battery\n")
    file = tmp_path / "move1.machine"
    flags = ("--with-ca",) if with_ca else ()
    done = home.run("export", *flags, "--passphrase-file", secret, "move1", "-o", file)
    assert ("holds the CA's key" in done.stderr) == with_ca
    wrong = colleague.run("import", file, check=False, MACHINECTL_PASSPHRASE="correct house")
    assert wrong.returncode == 1
    assert "the passphrase is wrong, or the file is damaged" in wrong.stderr
    assert colleague.run("ls", "-q").stdout == ""
    assert colleague.run("import", "--passphrase-file", secret, file).stdout == "move1\n"
    assert str(home.host.key) == colleague.inspect("move1")["Driver"]["SSHKeyPath"]
    check(home, colleague)
    again = colleague.run("import", "--passphrase-file", secret, file, check=False)
    assert (again.returncode, "already exists" in again.stderr) == (1, True)


def test_the_passphrase_is_asked_for_on_the_terminal(home, tmp_path):
    file = tmp_path / "asked.machine"
    answers = [b"correct horse\n", b"correct horse\n"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(home.env)
        words = [sys.executable, "-m", "machinectl", "export", "move1", "-o", str(file)]
        os.execv(words[0], words)  # noqa: S606 - the child of a test's own fork
    shown = b""
    while True:
        try:
            part = os.read(terminal, 1000)
        except OSError:
            break
        shown += part
        if not part:
            break
        if answers and shown.count(b": ") > 2 - len(answers) and shown.endswith(b": "):
            os.write(terminal, answers.pop(0))
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, shown
    assert b"correct horse" not in shown
    assert file.exists()
    nobody = home.run("export", "move1", "-o", tmp_path / "x", check=False, start_new_session=True)
    assert (nobody.returncode, "no terminal" in nobody.stderr) == (2, True)
