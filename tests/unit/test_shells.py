"""docker-machine's forms for every shell, letter by letter."""

from __future__ import annotations

import pytest

from machinectl.cli import shells
from machinectl.errors import MachinectlError


@pytest.mark.parametrize(
    ("shell", "setting", "unsetting"),
    [
        ("bash", 'export K="V"\n', "unset K\n"),
        ("zsh", 'export K="V"\n', "unset K\n"),
        ("", 'export K="V"\n', "unset K\n"),
        ("fish", 'set -gx K "V";\n', "set -e K;\n"),
        ("tcsh", 'setenv K "V";\n', "unsetenv K;\n"),
        ("cmd", "SET K=V\n", "SET K=\n"),
        ("powershell", '$Env:K = "V"\n', "Remove-Item Env:\\\\K\n"),
        ("emacs", '(setenv "K" "V")\n', '(setenv "K" nil)\n'),
    ],
)
def test_lines(shell, setting, unsetting):
    assert shells.set_line(shell, "K", "V") == setting
    assert shells.unset_line(shell, "K") == unsetting


@pytest.mark.parametrize(
    ("shell", "comment", "run"),
    [
        ("bash", "#", "# eval $(./m env --shell=S default)"),
        ("fish", "#", "# eval (./m env --shell=S default)"),
        ("powershell", "#", "# & ./m env --shell=S default | Invoke-Expression"),
        ("cmd", "REM", "REM \t@FOR /f \"tokens=*\" %i IN ('./m env --shell=S default') DO @%i"),
        (
            "emacs",
            ";;",
            ';; (with-temp-buffer (shell-command "./m env --shell=S default" (current-buffer)) '
            "(eval-buffer))",
        ),
        ("tcsh", ":", ": eval `./m env --shell=S default`"),
    ],
)
def test_hints(shell, comment, run):
    hint = shells.usage_hint(shell, ["./m", "env", "--shell=S", "default"])
    assert hint == f"{comment} Run this command to configure your shell: \n{run}\n"


def test_the_hint_can_be_typed_again(tmp_path, monkeypatch):
    program = tmp_path / "machinectl"
    program.write_text("")
    monkeypatch.setenv("PATH", str(tmp_path))
    line = shells.command_line([str(program), "-s", "/my store", "env", "it's"])
    assert line == """machinectl -s '/my store' env 'it'"'"'s'"""
    monkeypatch.setenv("PATH", "/nowhere")
    assert shells.command_line([str(program), "env"]) == f"{program} env"


@pytest.mark.parametrize("value", ["a\nb", "a\x00", "\x1b[2J", "\x7f"])
def test_control_characters_go_into_no_command(value):
    for shell in ("bash", "cmd", "tcsh"):
        with pytest.raises(MachinectlError, match="control character"):
            shells.quoted(shell, value)
    with pytest.raises(MachinectlError, match="control character"):
        shells.usage_hint("bash", ["machinectl", "env", value])


@pytest.mark.parametrize(
    ("shell", "quoted"),
    [
        ("bash", r"\"\$\`\\"),
        ("fish", r"\"\$`\\"),
        ("powershell", '`"`$``\\'),
        ("emacs", r"\"$`\\"),
        ("cmd", '"$`\\'),
        ("tcsh", r'"\"""\$""\`""\\"'),
    ],
)
def test_quoting(shell, quoted):
    assert shells.quoted(shell, '"$`\\') == quoted
