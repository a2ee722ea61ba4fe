"""CAs of registries: the setting, the flag, and the file on the host that comes and goes."""

from __future__ import annotations

import datetime
import os

import pytest

from machinectl.actions.registry.cas import parse_assignments, resolved, with_cas
from machinectl.actions.wishes import new_machine
from machinectl.errors import InventoryError, UsageError
from machinectl.inventory.read import read_inventory
from machinectl.inventory.settings import wishes
from machinectl.pki.certificates import make_authority, new_key
from machinectl_agent.facts import Facts
from machinectl_agent.host import Host
from machinectl_agent.phases.base import Context, Work
from machinectl_agent.phases.files import FilesPhase
from machinectl_agent.phases.registry_cas import wanted_files
from machinectl_agent.problems import Problem
from machinectl_agent.registry.sources import told
from machinectl_agent.spec import EngineSpec, FileSpec, HostSpec, Spec, TlsSpec

BROKEN = "-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n"
FACTS = Facts("debian", (), "Debian", "12", "bookworm", "x86_64", "6.1", "3.11.2", systemd=True, container="")
FILE = "/etc/docker/certs.d/reg:5000/ca.crt"


@pytest.fixture(scope="module")
def pem():
    return make_authority(new_key(), "0", datetime.datetime.now(datetime.timezone.utc)).decode()


@pytest.fixture
def wish(tmp_path):
    """`wish({place: value}, files)` → what the inventory makes of it."""

    def read(cas, **files):
        (tmp_path / "files").mkdir(exist_ok=True)
        for name, text in files.items():
            (tmp_path / "files" / f"{name}.pem").write_text(text)
        rows = "".join(f'          "{place}": {value}\n' for place, value in cas.items())
        text = f"all:\n  hosts:\n    a:\n      machinectl:\n        registry-cas:\n{rows}"
        (tmp_path / "hosts.yml").write_text(text)
        found = read_inventory([tmp_path])
        return wishes(found, ["a"])[0].host["registry_cas"]

    return read


def test_an_inventory_names_files_and_machines(wish, pem, tmp_path):
    expected = {"reg:5000": pem, "[fd00::1]:443": pem, "hub.example.com": "node1"}
    given = {
        "reg:5000": "ca.pem",
        "[fd00::1]:443": str(tmp_path / "files/ca.pem"),
        "hub.example.com": "node1",
    }
    assert wish(given, ca=pem) == expected


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("reg:5000", "broken.pem", "it holds no certificate that can be read"),
        ("reg:5000", "empty.pem", "it holds no certificate that can be read"),
        ("reg:5000", "other.pem", "there is no file other.pem"),
        ("https://reg:5000", "ca.pem", "is no registry"),
        ("../reg", "ca.pem", "is no registry"),
        ("reg:5000/x", "ca.pem", "is no registry"),
    ],
)
def test_what_can_not_be_is_refused_with_its_place(wish, pem, place, value, said):
    with pytest.raises(InventoryError) as caught:
        wish({place: value}, ca=pem, broken=BROKEN, empty="")
    assert said in str(caught.value) and "hosts.yml:" in str(caught.value)


def test_a_machine_means_this_stores_ca(tmp_path, pem):
    (tmp_path / "certs").mkdir()
    (tmp_path / "certs/ca.pem").write_text(pem)
    (tmp_path / "machines/node1").mkdir(parents=True)
    (tmp_path / "machines/node1/config.json").write_text("{}")
    assert resolved(tmp_path, {"reg:5000": "node1"}) == {"reg:5000": pem}
    with pytest.raises(UsageError, match="neither a file nor a machine"):
        resolved(tmp_path, {"reg:5000": "node2"})
    assert parse_assignments(["reg:5000=node1", "old:5000="], tmp_path) == {"reg:5000": pem, "old:5000": ""}
    for wrong in ("reg:5000", "=node1", "reg:5000=node2"):
        with pytest.raises(UsageError):
            parse_assignments([wrong], tmp_path)


def test_a_machine_gets_more_and_loses_what_is_empty(pem):
    machine = new_machine(name="a", ip="10.0.0.1", ssh={}, engine_port=2376, engine={}, host={}, tls_san=())
    more = with_cas(machine, {"reg:5000": pem})
    assert more.host == {"registry_cas": {"reg:5000": pem}}
    assert with_cas(more, {"hub": pem}).host["registry_cas"] == {"reg:5000": pem, "hub": pem}
    assert with_cas(more, {"reg:5000": ""}) == machine
    assert with_cas(machine, {}) is machine


def context(cas, *files):
    return Context(
        Spec("n", EngineSpec(), TlsSpec("", "", ""), HostSpec(registry_cas=cas), files=files, controller="me"), FACTS
    )  # fmt: skip


@pytest.mark.skipif(os.geteuid() != 0, reason="the files are root's")
def test_the_file_comes_and_the_one_before_it_comes_back(tmp_path, pem):
    host, phase = Host(str(tmp_path)), FilesPhase()
    host.write(FILE, "mine\n")
    before = told(host)

    def bring(cas):
        steps = phase.plan(phase.observe(host, context(cas)), context(cas))
        for step in steps:
            step.apply(Work(host, lambda _: None, lambda _: None))
        return [step.title for step in steps]

    assert bring({"reg:5000": pem}) == [f"~ write {FILE}"]
    assert host.read(FILE) == pem and told(host) != before
    assert bring({"reg:5000": pem}) == []
    assert bring({}) == [f"~ put {FILE} back as it was before"]
    assert host.read(FILE) == "mine\n" and told(host) == before


def test_the_agent_refuses_what_is_no_certificate_or_has_two_owners(pem):
    with pytest.raises(Problem, match="is no certificate"):
        wanted_files(context({"reg:5000": BROKEN}).spec)
    with pytest.raises(Problem, match="is no registry"):
        wanted_files(context({"../../x": pem}).spec)
    with pytest.raises(Problem, match="wanted by `files` and by `registry-cas`"):
        wanted_files(context({"reg:5000": pem}, FileSpec(FILE, "0", 0, "")).spec)
