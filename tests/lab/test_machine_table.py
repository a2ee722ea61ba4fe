"""The cases in which docker-machine fails: where each is tested, and tests for those that no other file has."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

HERE = Path(__file__).parents[1]

ROWS = {
    "Debian's docker.io": ["lab/test_create.py::test_the_engine_answers_over_tls"],
    "host unreachable, wrong key, installer refused": [
        "lab/test_create_faults.py::test_unreachable_and_refused_hosts_fail_fast_and_leave_nothing",
        "lab/test_create_errors.py::test_a_host_that_cannot_be_a_machine",
    ],
    "existing daemon.json": [
        "lab/test_engine_config.py::test_what_the_hosts_owner_wrote_stays",
        "lab/test_engine_config.py::test_a_daemon_that_does_not_come_up_gets_its_old_configuration_back",
    ],
    "provision or regenerate-certs": [
        "lab/test_create.py::test_a_second_create_changes_and_restarts_nothing",
        "lab/test_regenerate_certs.py::test_new_server_certificates_and_the_same_client",
    ],
    "ssh NAME 'exit 7'": ["contract/test_ssh_config.py::test_machinectl_ssh_is_docker_machines"],
    "engine 26 and later": ["lab/test_create.py::test_the_engine_answers_over_tls"],
    "upgrade on Debian": [
        "lab/test_upgrade.py::test_the_distributions_package_is_upgraded_and_containers_go_on",
        "lab/test_upgrade.py::test_a_pin_is_kept_changed_and_taken_away",
    ],
    "stop, start, kill": [
        "lab/test_power.py::test_stop_and_start_leave_containers_alone",
        "lab/test_power.py::test_kill_ends_an_engine_that_hangs",
        "lab/test_power.py::test_restart_reboots_several_hosts",
    ],
    "6 creates in parallel on an empty store": [
        "contract/test_store_in_parallel.py::test_six_creates_on_an_empty_store_end_with_one_ca",
        "lab/test_create_faults.py::test_several_creates_on_an_empty_store_share_one_authority",
    ],
    "store folder moved or copied to a colleague": [
        "lab/test_moving_machines.py::test_a_store_that_was_copied_or_moved",
        "lab/test_moving_machines.py::test_a_machine_in_a_file",
    ],
    "second controller provisions the same host": [
        "lab/test_two_stores.py::test_both_work_with_the_first_ones_certificate",
        "lab/test_two_stores.py::test_each_ones_engine_settings_stay",
    ],
    "host name": ["lab/test_machine_table.py::test_the_hosts_name_is_left_alone_unless_asked_for"],
    "passphrase keys, ssh-agent, ~/.ssh/config, ProxyJump": [
        "contract/test_connection.py::test_a_passphrase_is_asked_for_once_per_run",
        "contract/test_connection.py::test_the_agent_holds_a_locked_key",
        "contract/test_ssh_config.py::test_a_host_block_says_where_and_how",
        "lab/test_create_faults.py::test_a_host_behind_another_one",
    ],
    "host keys": ["lab/test_create_faults.py::test_a_changed_host_key_is_refused"],
    "sudo with a password": ["lab/test_create_faults.py::test_users_with_sudo"],
    "certificates": [
        "lab/test_regenerate_certs.py::test_ls_warns_and_one_command_renews_what_is_due",
        "lab/test_regenerate_certs.py::test_a_certificate_that_has_ended_is_renewed",
    ],
    "the machine's IP changes": [
        "lab/test_set_ip.py::test_everything_follows_a_plain_machine",
        "lab/test_set_ip.py::test_etcd_and_networks_follow",
    ],
    "adopt a running engine": [
        "lab/test_create_faults.py::test_an_engine_that_is_there_is_adopted",
        "lab/test_adopt.py::test_only_what_was_asked_for_changes",
    ],
    "unknown distribution": [
        "lab/test_machine_table.py::test_a_distribution_that_nobody_knows",
        "unit/test_provisioners_choose.py::test_family_and_suite",
    ],
    "proxies, engine options after create": [
        "lab/test_config.py::test_a_list_grows_and_shrinks_by_reload",
        "lab/test_config.py::test_what_needs_a_restart_gets_one_and_containers_go_on",
    ],
    "ls with a dead host": ["contract/test_ls.py::test_one_deadline_for_all_and_every_row_is_there"],
}


@pytest.mark.parametrize("row", ROWS)
def test_every_row_has_its_tests(row):
    for one in ROWS[row]:
        file, _, name = one.partition("::")
        found = ast.parse((HERE / file).read_text()).body
        assert name in [node.name for node in found if isinstance(node, ast.FunctionDef)], one


@pytest.fixture(scope="module")
def host(make_host, lab):
    yield make_host("row1")
    lab.down(["row1"])


@pytest.mark.lab
@pytest.mark.timeout(1200)
def test_the_hosts_name_is_left_alone_unless_asked_for(host, new_controller):
    controller = new_controller()
    address = ("--ip", host.ip, "--ssh-key", host.key)
    controller.run("create", *address, "other-name")
    assert host.run("hostname; cat /etc/hostname").stdout.split() == ["row1", "row1"]
    assert controller.docker("other-name", "info", "-f", "{{.Name}}") == "row1"
    controller.run("rm", "-y", "other-name")
    controller.run("create", *address, "--set-hostname", "other-name")
    assert host.run("hostname; cat /etc/hostname").stdout.split() == ["other-name", "other-name"]
    host.run("hostnamectl set-hostname row1 || { echo row1 > /etc/hostname; hostname row1; }")


@pytest.mark.lab
@pytest.mark.timeout(1200)
def test_a_distribution_that_nobody_knows(host, new_controller):
    """With an engine it is a machine like any other; without one the error names the way out."""
    controller = new_controller()
    host.run("cp -L /etc/os-release /root/os-release; rm /etc/os-release")
    host.run("cat > /etc/os-release", stdin='ID=oddix\nPRETTY_NAME="Oddix 1"\nVERSION_ID="1"\n')
    said = controller.create(host, "--take-over").stderr
    assert "Oddix 1" in said
    assert "is ready at tcp://" in said
    host.run("systemctl stop docker.socket docker; apt-get remove -y -q docker.io >/dev/null 2>&1")
    refused = controller.run("provision", host.name, check=False)
    assert refused.returncode == 1
    assert "this distribution is not known: Oddix 1" in refused.stderr
    assert "--os" in refused.stderr
    host.run("printf 'ID=oddix\\nID_LIKE=debian\\nVERSION_ID=1\\nPRETTY_NAME=Oddix\\n' > /etc/os-release")
    assert "is ready at tcp://" in controller.run("provision", host.name).stderr
    host.run("cp /root/os-release /etc/os-release")
