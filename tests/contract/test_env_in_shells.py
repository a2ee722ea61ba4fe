"""What `env` prints, evaluated by the real shells, with values that hurt."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from machinectl.cli import shells
from machinectl.model import Machine, SshAddress
from machinectl.store.store import Store

# how each shell evaluates the output of a command: as people type it, and more carefully
EVALUATIONS = {
    "bash": ["eval $({run})", 'eval "$({run})"'],
    "sh": ["eval $({run})", 'eval "$({run})"'],
    "dash": ["eval $({run})", 'eval "$({run})"'],
    "zsh": ["eval $({run})", 'eval "$({run})"'],
    "fish": ["eval ({run})", "{run} | source"],
    "tcsh": ["eval `{run}`"],
}
CASES = [
    pytest.param(shell, one, marks=pytest.mark.skipif(not shutil.which(shell), reason=f"needs {shell}"))
    for shell, all_of_them in EVALUATIONS.items()
    for one in all_of_them
]
NAMES = ("DOCKER_TLS_VERIFY", "DOCKER_HOST", "DOCKER_CERT_PATH", "DOCKER_MACHINE_NAME", "NO_PROXY")
FLAGS = {"bash": ["--norc"], "zsh": ["-f"], "fish": ["--no-config"], "tcsh": ["-f"]}
HARD = 'it\'s $HOME `id` "q"  two  spaces \\ back! ~ # ; & é * [a] {b}'
PRINT = "; ".join(
    f"{sys.executable} -c 'import os,sys; sys.stdout.write(os.environ.get(sys.argv[1],chr(0))+chr(1))' {one}"
    for one in NAMES
)


def run_in(shell, script, **environment):
    done = subprocess.run(
        [shell, *FLAGS.get(shell, []), "-c", script],
        env={
            "PATH": os.environ["PATH"],
            "HOME": "/",
            "SHELL": f"/bin/{shell}",
            "LC_ALL": "C.UTF-8",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done
    values = done.stdout.split("\x01")[:-1]
    assert len(values) == len(NAMES), done
    return dict(zip(NAMES, values, strict=True))


@pytest.fixture
def store(tmp_path, request):
    # csh expands stars in the result of `…` unless its user has said `set noglob`
    tcsh = "tcsh-" in request.node.name
    store = Store(tmp_path / (HARD.replace("*", "+").replace("[", "+").replace("{", "+") if tcsh else HARD))
    store.save(Machine("node1", "198.18.0.11", SshAddress("198.18.0.11", 2200, "root"), state="ready"))
    return store


def command(store):
    # the hard path goes through the environment: this test is about the output's quoting
    return f"{sys.executable} -m machinectl env", {"MACHINECTL_STORAGE_PATH": str(store.path)}


@pytest.mark.parametrize(("shell", "evaluation"), CASES)
def test_set_through_ssh_and_unset(store, shell, evaluation):
    run, environment = command(store)

    def evaluated(*flags: str):
        return evaluation.format(run=" ".join([run, *flags]))

    tls = run_in(shell, f"{evaluated('--no-check', '--no-proxy', 'node1')}; {PRINT}", **environment)
    assert tls == {
        "DOCKER_TLS_VERIFY": "1",
        "DOCKER_HOST": "tcp://198.18.0.11:2376",
        "DOCKER_CERT_PATH": str(store.path / "machines" / "node1"),
        "DOCKER_MACHINE_NAME": "node1",
        "NO_PROXY": "198.18.0.11",
    }
    ssh = run_in(
        shell, f"{evaluated('--no-check', 'node1')}; {evaluated('--ssh', 'node1')}; {PRINT}", **environment
    )
    assert ssh == {
        "DOCKER_TLS_VERIFY": "\0",
        "DOCKER_HOST": "ssh://root@198.18.0.11:2200",
        "DOCKER_CERT_PATH": "\0",
        "DOCKER_MACHINE_NAME": "node1",
        "NO_PROXY": "\0",
    }
    # in a fresh shell, too: nothing to unset there
    fresh = run_in(shell, f"{evaluated('--ssh', '--no-proxy', 'node1')}; {PRINT}", **environment)
    assert fresh == {**ssh, "NO_PROXY": "198.18.0.11"}
    gone = run_in(
        shell,
        f"{evaluated('--no-check', '--no-proxy', 'node1')}; {evaluated('-u', '--no-proxy')}; {PRINT}",
        **environment,
    )
    assert set(gone.values()) == {"\0"}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({}, "198.18.0.11"),
        ({"NO_PROXY": "a,198.18.0.11"}, "a,198.18.0.11"),
        ({"NO_PROXY": "198.18.0.110"}, "198.18.0.110,198.18.0.11"),
    ],
)
def test_no_proxy_is_extended_once(store, before, after):
    run, environment = command(store)
    script = f"eval $({run} --no-check --no-proxy node1); eval $({run} --no-check --no-proxy node1); {PRINT}"
    assert run_in("sh", script, **environment, **before)["NO_PROXY"] == after


def test_the_lower_case_variable_is_kept_where_it_is_in_use(store):
    run, environment = command(store)
    done = subprocess.run(
        [*run.split(), "--no-check", "--no-proxy", "node1"],
        env={**os.environ, **environment, "no_proxy": "x", "NO_PROXY": "y"},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert 'export no_proxy="x,198.18.0.11"\n' in done.stdout


PATHS = st.text(
    st.characters(exclude_categories=("C", "Zl", "Zp")) | st.sampled_from("*?[]{}~$`\"'\\ ! #;&()<>|")
)


@pytest.mark.parametrize(("shell", "evaluation"), [one for one in CASES if one.values[0] in ("bash", "dash")])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=st.lists(PATHS, min_size=1, max_size=8))
def test_any_value_survives(shell, evaluation, tmp_path, values):
    # U+0085, U+00A0 and friends are no separators for the shells, ASCII space is
    lines = [shells.set_line(shell, f"V{index}", value) for index, value in enumerate(values)]
    output = tmp_path / "output"
    output.write_text("".join(lines) + shells.usage_hint(shell, ["machinectl", "env"]))
    names = " ".join(f'"$V{index}"' for index in range(len(values)))
    script = f"{evaluation.format(run=f'cat {output}')}; printf '%s\\1' {names}"
    done = subprocess.run(
        [shell, "-c", script], env={"PATH": os.environ["PATH"]}, capture_output=True, check=True, timeout=60
    )
    assert done.stdout.decode().split("\x01")[:-1] == values
