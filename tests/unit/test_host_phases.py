"""Files, kernel settings and packages of the user's own: brought, repeated, taken back, crashed in between."""

from __future__ import annotations

import base64
import grp
import hashlib
import os
import pwd

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from machinectl_agent.facts import Facts
from machinectl_agent.host import Host
from machinectl_agent.phases import host_packages
from machinectl_agent.phases.base import Context, Work
from machinectl_agent.phases.files import FilesPhase
from machinectl_agent.phases.host_packages import HostPackagesPhase
from machinectl_agent.phases.record import read_record
from machinectl_agent.phases.sysctl import FILE, SysctlPhase
from machinectl_agent.problems import Problem
from machinectl_agent.spec import EngineSpec, FileSpec, HostSpec, Spec, TlsSpec

USER, GROUP = pwd.getpwuid(os.geteuid()).pw_name, grp.getgrgid(os.getegid()).gr_name
FACTS = Facts("debian", (), "Debian", "12", "bookworm", "x86_64", "6.1", "3.11.2", systemd=True, container="")


def wanted(*files, controller="me", **host):
    return Context(
        Spec("n", EngineSpec(), TlsSpec("", "", ""), HostSpec(**host), files=files, controller=controller),
        FACTS,
    )


def file(path, content=b"ours\n", **more):
    return FileSpec(
        path,
        hashlib.sha256(content).hexdigest(),
        len(content),
        base64.b64encode(content).decode(),
        **{"owner": USER, "group": GROUP, **more},
    )


@pytest.fixture
def host(tmp_path):
    return Host(str(tmp_path))


def plan(phase, host, context):
    return phase.plan(phase.observe(host, context), context)


def bring(phase, host, context, *, steps=None):
    """Applies the plan (or its first `steps`), and says the titles."""
    done = []
    for step in plan(phase, host, context)[:steps]:
        step.apply(Work(host, lambda _: None, lambda _: None))
        done.append(step.title)
    return done


class TestFiles:
    def test_a_file_is_brought_once_and_goes_again(self, host):
        phase = FilesPhase()
        assert bring(phase, host, wanted(file("/etc/a/b", mode=0o600))) == ["+ write /etc/a/b"]
        assert (host.read("/etc/a/b"), host.mode("/etc/a/b")) == ("ours\n", 0o600)
        assert plan(phase, host, wanted(file("/etc/a/b", mode=0o600))) == []
        assert bring(phase, host, wanted()) == ["- remove /etc/a/b"]
        assert not host.exists("/etc/a/b")
        assert plan(phase, host, wanted()) == []

    def test_the_hosts_own_file_comes_back_as_it_was(self, host):
        host.write("/etc/motd", "theirs\n", 0o640)
        phase = FilesPhase()
        bring(phase, host, wanted(file("/etc/motd")))
        bring(phase, host, wanted(file("/etc/motd", b"newer\n")))
        assert host.read("/etc/motd") == "newer\n"
        assert bring(phase, host, wanted()) == ["~ put /etc/motd back as it was before"]
        assert (host.read("/etc/motd"), host.mode("/etc/motd")) == ("theirs\n", 0o640)
        assert list(host.path("/var/lib/machinectl/originals").iterdir()) == []

    def test_a_file_that_is_there_already_stays_the_hosts(self, host):
        host.write("/etc/motd", "ours\n")
        phase = FilesPhase()
        assert plan(phase, host, wanted(file("/etc/motd"))) == []
        assert plan(phase, host, wanted()) == []
        assert host.read("/etc/motd") == "ours\n"

    def test_a_change_by_hand_and_a_wrong_mode_are_seen(self, host):
        phase = FilesPhase()
        bring(phase, host, wanted(file("/etc/x")))
        host.write("/etc/x", "somebody's\n")
        (step,) = plan(phase, host, wanted(file("/etc/x")))
        assert "-somebody's" in step.diff
        assert "+ours" in step.diff
        bring(phase, host, wanted(file("/etc/x")))
        host.path("/etc/x").chmod(0o666)
        assert bring(phase, host, wanted(file("/etc/x"))) == ["~ change /etc/x (mode 0666 → 0644)"]

    def test_a_secret_is_in_no_plan(self, host):
        host.write("/etc/token", "hunter1\n")
        (step,) = plan(FilesPhase(), host, wanted(file("/etc/token", b"hunter2\n", secret=True)))
        assert "hunter" not in str(step.to_json()) + repr(step)

    def test_what_is_no_text_or_long_is_counted_only(self, host):
        for content in (b"\0\1", b"\xff\xfe", b"x" * 70_000):
            (step,) = plan(FilesPhase(), host, wanted(file("/etc/blob", content)))
            assert step.diff == f"({len(content)} bytes)"

    def test_each_controller_takes_back_its_own(self, host):
        phase = FilesPhase()
        bring(phase, host, wanted(file("/etc/a"), controller="one"))
        bring(phase, host, wanted(file("/etc/b"), controller="two"))
        assert plan(phase, host, wanted(file("/etc/b"), controller="two")) == []
        assert bring(phase, host, wanted(controller="two")) == ["- remove /etc/b"]
        assert host.exists("/etc/a")

    @pytest.mark.parametrize(
        ("path", "problem"),
        [
            ("etc/a", "file-path"),
            ("/etc/../a", "file-path"),
            ("/", "file-path"),
            ("/etc/docker/daemon.json", "file-path"),
            ("/var/lib/machinectl/x", "file-path"),
            ("/proc/sys/a", "file-path"),
            ("/etc", "file-kind"),
            ("/etc/link", "file-link"),
        ],
    )
    def test_paths_that_can_not_be_are_refused_before_anything_changes(self, host, path, problem):
        host.make_folder("/etc")
        host.path("/etc/link").symlink_to("elsewhere")
        with pytest.raises(Problem) as error:
            plan(FilesPhase(), host, wanted(file("/etc/ok"), file(path)))
        assert error.value.code == problem
        assert not host.exists("/etc/ok")

    def test_an_unknown_user_is_refused_unless_a_package_may_bring_it(self, host):
        with pytest.raises(Problem, match="no user 'nobody-of-that-name'"):
            plan(FilesPhase(), host, wanted(file("/etc/a", owner="nobody-of-that-name")))
        assert plan(FilesPhase(), host, wanted(file("/etc/a", owner="nobody-of-that-name"), packages=("x",)))

    def test_a_large_file_is_asked_for_and_checked(self, host):
        content = b"z" * 100_000
        asked = []

        def need(files):
            asked.extend(files)
            host.place(files[0]["path"], content, 0o600)

        spec = FileSpec(
            "/etc/big", hashlib.sha256(content).hexdigest(), len(content), owner=USER, group=GROUP
        )
        for step in plan(FilesPhase(), host, wanted(spec)):
            step.apply(Work(host, lambda _: None, need))
        assert len(asked) == 1
        assert host.path("/etc/big").read_bytes() == content
        assert plan(FilesPhase(), host, wanted(spec)) == []

    def test_a_large_file_that_arrives_changed_is_refused(self, host):
        spec = FileSpec("/etc/big", "0" * 64, 5, owner=USER, group=GROUP)
        (step,) = plan(FilesPhase(), host, wanted(spec))
        with pytest.raises(Problem, match="arrived changed"):
            step.apply(
                Work(host, lambda _: None, lambda files: host.place(files[0]["path"], b"wrong", 0o600))
            )
        assert not host.exists("/etc/big")

    def test_a_restart_that_a_crash_has_prevented_is_made_up_for(self, host):
        phase, context = FilesPhase(), wanted(file("/etc/a", restart="thing.service"))
        titles = [step.title for step in plan(phase, host, context)]
        assert titles == ["+ write /etc/a", "! restart thing.service (its files have changed)"]
        bring(phase, host, context, steps=1)
        assert [step.title for step in plan(phase, host, context)] == titles[1:]
        # nobody wishes for it any more
        assert [step.title for step in plan(phase, host, wanted(file("/etc/a")))] == [
            "~ remember that nothing is restarted with /etc/a",
            titles[1],
        ]

    def test_the_engine_is_restarted_by_nobody_else(self, host):
        with pytest.raises(Problem, match="docker is not restarted for a file"):
            plan(FilesPhase(), host, wanted(file("/etc/a", restart="docker")))

    @given(
        st.lists(
            st.dictionaries(st.sampled_from(["/a", "/b", "/c/d"]), st.sampled_from([b"", b"1", b"2"])),
            max_size=5,
        )
    )
    @settings(deadline=None)
    def test_the_order_of_applies_does_not_matter(self, tmp_path_factory, history):
        """Whatever was applied before: the last one decides, and nothing of the others is left."""
        host = Host(str(tmp_path_factory.mktemp("host")))
        host.write("/b", "theirs")
        phase = FilesPhase()
        for files in [*history, {}]:
            context = wanted(*(file(path, content) for path, content in files.items()))
            bring(phase, host, context)
            assert plan(phase, host, context) == []
            for path, content in files.items():
                assert host.path(path).read_bytes() == content
        assert host.read("/b") == "theirs"
        assert not host.exists("/a")
        assert not host.exists("/c/d")
        assert not read_record(host).files


class TestSysctl:
    @pytest.fixture(autouse=True)
    def kernel(self, host):
        host.write("/proc/sys/net/core/somaxconn", "128\n")
        host.write("/proc/sys/net/ipv4/ip_local_port_range", "32768\t60999\n")
        host.write("/proc/sys/net/ipv4/ip_forward", "1\n")

    def test_set_at_once_and_at_every_boot_and_back(self, host):
        phase, context = SysctlPhase(), wanted(sysctl={"net.core.somaxconn": "4096"})
        assert bring(phase, host, context)[0] == "~ set net.core.somaxconn = 4096 (now 128)"
        assert host.read("/proc/sys/net/core/somaxconn") == "4096\n"
        assert "net.core.somaxconn = 4096" in (host.read(FILE) or "")
        assert plan(phase, host, context) == []
        bring(phase, host, wanted())
        assert host.read("/proc/sys/net/core/somaxconn") == "128\n"
        assert not host.exists(FILE)
        assert plan(phase, host, wanted()) == []

    def test_tabs_and_spaces_are_the_same(self, host):
        phase, context = SysctlPhase(), wanted(sysctl={"net.ipv4.ip_local_port_range": "32768 60999"})
        assert bring(phase, host, context) == [f"+ write {FILE}"]

    def test_what_it_was_before_is_what_it_was_before_the_first(self, host):
        phase = SysctlPhase()
        for value in ("200", "300"):
            bring(phase, host, wanted(sysctl={"net.core.somaxconn": value}))
        bring(phase, host, wanted())
        assert host.read("/proc/sys/net/core/somaxconn") == "128\n"

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("net.core.nothing", "1"),
            ("../../etc/passwd", "1"),
            ("net.core.somaxconn", "1\n2"),
            ("net.core.somaxconn", " "),
            ("net.ipv4.ip_forward", "0"),
            ("somaxconn", "1"),
        ],
    )
    def test_refused_before_anything_changes(self, host, name, value):
        with pytest.raises(Problem):
            plan(SysctlPhase(), host, wanted(sysctl={name: value}))


class Family:
    """A package manager whose packages are a set; `kept` are needed by others."""

    def __init__(self):
        self.there = {"tree"}
        self.kept = set()

    def present(self, host, names):
        return self.there & set(names)

    def install(self, host, *names):
        self.there |= set(names)

    def remove(self, host, name):
        if name in self.kept:
            return False
        self.there.discard(name)
        return True


class TestPackages:
    @pytest.fixture(autouse=True)
    def family(self, monkeypatch):
        family = Family()
        monkeypatch.setattr(host_packages, "choose", lambda *_: family)
        return family

    def test_only_what_was_not_there_goes_again(self, host, family):
        phase = HostPackagesPhase()
        assert bring(phase, host, wanted(packages=("tree", "htop"))) == ["+ install htop"]
        assert plan(phase, host, wanted(packages=("tree", "htop"))) == []
        assert bring(phase, host, wanted()) == ["- remove htop"]
        assert family.there == {"tree"}
        assert plan(phase, host, wanted()) == []

    def test_one_that_others_need_stays_and_is_forgotten(self, host, family):
        phase = HostPackagesPhase()
        bring(phase, host, wanted(packages=("htop",)))
        family.kept = {"htop"}
        bring(phase, host, wanted())
        assert "htop" in family.there
        assert plan(phase, host, wanted()) == []

    def test_no_name_is_an_option_or_a_pattern(self, host):
        for name in ("-y", "lib*", "a b", ""):
            with pytest.raises(Problem):
                plan(HostPackagesPhase(), host, wanted(packages=(name,)))
