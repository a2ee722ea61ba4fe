"""vagrant/ is valid for Vagrant itself, and its inventory names the same hosts."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "vagrant"


@pytest.mark.vagrant
@pytest.mark.skipif(not shutil.which("vagrant"), reason="vagrant is not installed")
def test_the_vagrantfile_is_valid(tmp_path):
    env = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(tmp_path)}
    # --ignore-provider: neither VirtualBox nor libvirt has to be there
    done = subprocess.run(
        ["vagrant", "validate", "--ignore-provider"],
        cwd=FOLDER,
        env={**env, "VAGRANT_HOME": str(tmp_path), "VAGRANT_DOTFILE_PATH": str(tmp_path / "dot")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "validated successfully" in done.stdout


def test_the_inventory_has_the_vagrantfiles_hosts():
    nodes = dict(re.findall(r'"(docker-node\d)" => "([\d.]+)"', (FOLDER / "Vagrantfile").read_text()))
    text = (FOLDER / "inventory.yml").read_text()
    listed = dict(re.findall(r"^    (docker-node\d):\n      ansible_host: ([\d.]+)", text, re.MULTILINE))
    assert listed == nodes == {"docker-node1": "192.168.205.10", "docker-node2": "192.168.205.11"}
