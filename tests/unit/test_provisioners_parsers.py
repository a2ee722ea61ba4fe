"""What dpkg, apt, rpm, dnf, zypper and pacman print, as data."""

from __future__ import annotations

from machinectl_agent.host import Completed
from machinectl_agent.provisioners import apt_parse, apt_reach, arch, dnf, package_files, rpm, suse
from machinectl_agent.provisioners.apt import explain

POLICY = """\
docker.io:
  Installed: (none)
  Candidate: 26.1.5+dfsg1-9+b1
  Version table:
     26.1.5+dfsg1-9+b1 500
        500 http://mirror.example.org/debian trixie/main amd64 Packages
docker-cli:
  Installed: 26.1.5+dfsg1-9+b1
  Candidate: 26.1.5+dfsg1-9+b1
  Version table:
 *** 26.1.5+dfsg1-9+b1 500
docker-ce:
  Installed: (none)
  Candidate: (none)
  Version table:
"""
MADISON = """\
 docker-ce | 5:26.1.4-1~debian.12~bookworm | https://mirror.example.org/linux/debian bookworm/stable amd64 Packages
 docker-ce | 5:26.1.3-1~debian.12~bookworm | https://mirror.example.org/linux/debian bookworm/stable amd64 Packages
 docker-ce | 5:26.1.3-1~debian.12~bookworm | https://other.example.org/linux/debian bookworm/stable amd64 Packages
 docker.io | 20.10.24+dfsg1-1+deb12u1 | http://mirror.example.org/debian bookworm/main amd64 Packages
 docker.io | 20.10.24+dfsg1-1+deb12u1 | http://mirror.example.org/debian bookworm/main Sources
"""
DPKG = """\
docker.io\tii \t20.10.24+dfsg1-1+deb12u1
containerd\tiU \t1.6.20~ds1-1
runc\tiHR\t
tini\trc \t0.19.0-1
docker-ce\tun \t
docker-cli\thi \t26.1.5+dfsg1-9
"""


def test_policy():
    assert apt_parse.parse_policy(POLICY) == {
        "docker.io": "26.1.5+dfsg1-9+b1",
        "docker-cli": "26.1.5+dfsg1-9+b1",
    }
    assert apt_parse.parse_policy("") == {}


def test_madison():
    assert apt_parse.parse_madison(MADISON) == {
        "docker-ce": ["5:26.1.4-1~debian.12~bookworm", "5:26.1.3-1~debian.12~bookworm"],
        "docker.io": ["20.10.24+dfsg1-1+deb12u1"],
    }


def test_dpkg():
    packages = apt_parse.parse_dpkg(DPKG)
    assert sorted(packages) == ["containerd", "docker-cli", "docker.io", "runc"]
    assert packages["docker.io"].installed
    assert packages["docker-cli"].installed
    assert not packages["docker.io"].broken
    assert packages["containerd"].broken
    assert not packages["containerd"].torn
    assert packages["runc"].torn
    assert sorted(apt_parse.versions(packages)) == ["containerd", "docker-cli", "docker.io"]


def test_apt_errors_are_short():
    text = """\
Err:1 http://mirror.example.org/debian bookworm InRelease
W: Failed to fetch http://mirror.example.org/debian/dists/bookworm/InRelease  Unable to connect to mirror:http:
W: Failed to fetch http://mirror.example.org/debian/dists/bookworm-updates/InRelease  Unable to connect to mirror:http:
W: Some index files failed to download. They have been ignored, or old ones used instead.
E: Unable to locate package docker-ce
"""
    assert apt_parse.parse_update_errors(text) == [
        "http://mirror.example.org: Unable to connect to mirror:http:",
        "Unable to locate package docker-ce",
    ]


def test_apt_errors_become_problems():
    cases = {
        "packages-unavailable": "E: Unable to locate package docker-ce",
        "disk-full": "E: You don't have enough free space in /var/cache/apt/archives/.",
        "packages-locked": "E: Could not get lock /var/lib/dpkg/lock-frontend. It is held by process 12 (apt)",
        "source-untrusted": "W: GPG error: http://m ./ InRelease: NO_PUBKEY 7EA0A9C3F273FCD8",
        "packages-unmet": "The following packages have unmet dependencies:\n x : Depends: y but it is not installable",
        "packages-failed": "dpkg: error processing package docker.io (--configure):\nE: Sub-process failed",
    }
    for code, text in cases.items():
        assert explain(Completed(100, "", text), []).code == code
    full = explain(Completed(100, "", "tar: cannot write: No space left on device"), [])
    assert (full.code, full.why) == ("disk-full", "tar: cannot write: No space left on device")


def test_addresses_of_sources():
    text = """\
'http://mirror.example.org/debian/dists/sid/InRelease' mirror.example.org_debian_dists_sid_InRelease 0
'https://other.example.org:8443/x/InRelease' other 0
"""
    assert apt_reach.parse_uris(text) == {("mirror.example.org", 80), ("other.example.org", 8443)}
    # a way that only apt knows: nothing is said about any source
    assert apt_reach.parse_uris(text + "'mirror+file:/etc/apt/mirrors/debian.list/x' x 0\n") == set()


def test_rpm_query():
    text = "package moby-engine is not installed\ndocker-ce\t3:26.1.4-1.el9\ncontainerd.io\t1.6.32-3.1.el9\n"
    assert rpm.parse_query(text) == {"docker-ce": "3:26.1.4-1.el9", "containerd.io": "1.6.32-3.1.el9"}


def test_dnf_repoquery():
    # dnf 4 adds a line end of its own, dnf 5 does not
    text = (
        "docker-ce\t3:26.1.3-1.el9\n\ndocker-ce\t3:26.1.4-1.el9\n\ncontainerd.io\t0:1.7.1-1.el9\nLast check\n"
    )
    assert dnf.parse_repoquery(text) == {
        "docker-ce": ["3:26.1.3-1.el9", "3:26.1.4-1.el9"],
        "containerd.io": ["1.7.1-1.el9"],
    }


def test_dnf_errors_become_problems():
    cases = {
        "packages-unavailable": "Curl error (6): Couldn't resolve host name for http://m/repodata/repomd.xml",
        "packages-unmet": "Error: \n Problem: package a-1 conflicts with runc provided by runc-1",
        "source-untrusted": "Error: GPG check FAILED",
        "disk-full": "Error: Transaction test error:\n  At least 12MB more space needed on the / filesystem.",
        "packages-failed": "Error: something else",
    }
    for code, text in cases.items():
        assert dnf.explain(Completed(1, "", text)).code == code


def test_zypper_search():
    text = """\
Loading repository data...
Reading installed packages...

S | Name   | Type       | Version              | Arch   | Repository
--+--------+------------+----------------------+--------+---------------
i | docker | package    | 28.5.1_ce-1.1        | x86_64 | Main Repository
v | docker | package    | 27.5.1_ce-3.2        | x86_64 | Main Repository
  | docker | srcpackage | 28.5.1_ce-1.1        | noarch | Sources
"""
    assert suse.parse_search(text) == ["28.5.1_ce-1.1", "27.5.1_ce-3.2"]


def test_pacman():
    assert arch.parse_query("docker 1:28.5.2-1\n") == {"docker": "1:28.5.2-1"}
    assert arch.parse_query("error: package 'docker' was not found\n") == {}
    assert arch.parse_offered("Repository      : extra\nVersion         : 1:28.5.2-1\n") == "1:28.5.2-1"
    assert arch.parse_offered("") == ""


def test_names_of_package_files():
    parse = package_files.parse_name
    assert parse("docker-ce_26.1.4-1~debian.12~bookworm_amd64.deb") == package_files.Parsed(
        "docker-ce", "26.1.4-1~debian.12~bookworm", "amd64"
    )
    assert parse("iptables_1%3a1.8.9-2_amd64.deb") == package_files.Parsed("iptables", "1:1.8.9-2", "amd64")
    assert parse("docker-ce-26.1.4-1.el9.x86_64.rpm") == package_files.Parsed(
        "docker-ce", "26.1.4-1.el9", "x86_64"
    )
    assert parse("engine.deb") is None
    assert parse("../../etc/passwd") is None
