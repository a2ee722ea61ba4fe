"""Inventories of lab hosts, as people write them, for tests that apply them."""

from __future__ import annotations

import subprocess
import textwrap
from pathlib import Path


class Repository:
    """An inventory in git."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self.git("init", "-q", "-b", "main")
        self.git("config", "user.email", "ops@example.org")
        self.git("config", "user.name", "ops")

    def git(self, *words: str) -> str:
        done = subprocess.run(["git", *words], cwd=self.folder, check=True, capture_output=True, text=True)
        return done.stdout

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def hosts(self, hosts, **groups) -> None:
        """hosts.yml: every host with its address and key; `groups`: name → names of hosts."""
        lines = ["all:", "  vars:", "    ansible_user: root", "  hosts:"]
        for one in hosts:
            lines += [f"    {one.name}:", f"      ansible_host: {one.ip}"]
            lines += [f"      ansible_ssh_private_key_file: {one.key}"]
        if groups:
            lines.append("  children:")
        for name, members in groups.items():
            lines += [f"    {name}:", "      hosts:", *(f"        {member}:" for member in members)]
        (self.folder / "hosts.yml").write_text("\n".join(lines) + "\n")
