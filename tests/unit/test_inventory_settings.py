"""Settings of machines: how they are merged, what is refused and where, what templates may do; and no traceback ever."""

from __future__ import annotations

import textwrap

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from machinectl.errors import InventoryError
from machinectl.inventory.keys import KEYS, find_key
from machinectl.inventory.read import read_inventory
from machinectl.inventory.settings import wishes


@pytest.fixture
def inventory(tmp_path):
    """`inventory({"hosts.yml": TEXT, …})` → the wishes by name."""

    def read(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text) if isinstance(text, bytes) else path.write_text(textwrap.dedent(text))
        found = read_inventory([tmp_path])
        return {one.name: one for one in wishes(found, list(found.hosts))}

    return read


def one(inventory, settings_text, **files):
    text = "all:\n  hosts:\n    a:\n      machinectl:\n" + textwrap.indent(
        textwrap.dedent(settings_text), " " * 8
    )
    return inventory({"hosts.yml": text, **files})["a"]


def test_nothing_but_a_name_is_enough(inventory):
    wish = inventory({"hosts.ini": "a\n"})["a"]
    assert (wish.ip, wish.ssh.host, wish.engine, wish.engine_port) == ("a", "a", {}, 2376)
    assert not (wish.network or wish.etcd or wish.context or wish.files)


def test_groups_and_the_host_add_up_key_by_key(inventory):
    found = inventory(
        {
            "hosts.yml": """
                all:
                  vars: {machinectl: {registry-mirrors: [http://all], sysctl: {a.b: 1, c.d: 1}}}
                  hosts: {other: }
                  children:
                    web:
                      vars: {machinectl: {sysctl: {c.d: 2}}}
                      hosts: {a: {machinectl: {labels: [x=1]}}}
                """,
            "group_vars/web.yml": "machinectl: {log-driver: local}\n",
            "host_vars/a.yml": "machinectl: {registry-mirrors: [http://a]}\n",
        }
    )
    assert found["a"].engine["options"] == {
        "registry-mirrors": ["http://a"],
        "labels": ["x=1"],
        "log-driver": "local",
    }
    assert found["a"].host["sysctl"] == {"a.b": "1", "c.d": "2"}
    assert found["other"].engine["options"] == {"registry-mirrors": ["http://all"]}


@pytest.mark.parametrize(
    "name",
    [
        "registry-mirrors",
        "registry-mirror",
        "engine-registry-mirror",
        "registry_mirrors",
        "engine_registry_mirror",
    ],
)
def test_an_option_has_the_names_that_people_know(inventory, name):
    assert one(inventory, f"{name}: [http://m]\n").engine["options"] == {"registry-mirrors": ["http://m"]}


def test_what_all_kinds_become(inventory):
    wish = one(
        inventory,
        """
        engine-version: "26.1"
        engine-mirror: https://mirror/docker/
        engine-env: {HTTP_PROXY: http://p, EMPTY: }
        engine-opt: {icc: false, log-level: debug, something-new: [1, 2]}
        engine-port: 2377
        log-opts: {max-size: 10m}
        default-ulimits: {nofile: "1024:2048"}
        live-restore: yes
        mtu: 1400
        tls-san: [a.example.com]
        set-hostname: true
        packages: [htop]
        network: {advertise: eth1}
        etcd: true
        context: true
        """,
    )
    assert wish.engine == {
        "options": {
            "log-opts": {"max-size": "10m"},
            "default-ulimits": {"nofile": {"Name": "nofile", "Soft": 1024, "Hard": 2048}},
            "live-restore": True,
            "mtu": 1400,
            "icc": False,
            "log-level": "debug",
            "something-new": [1, 2],
        },
        "env": {"HTTP_PROXY": "http://p", "EMPTY": ""},
        "version": "26.1",
        "mirror": "https://mirror/docker",
    }
    assert wish.host == {"hostname": "a", "packages": ("htop",)}
    assert (wish.engine_port, wish.tls_san, wish.network, wish.advertise) == (
        2377,
        ("a.example.com",),
        True,
        "eth1",
    )
    assert wish.etcd
    assert wish.context


def test_the_group_etcd_means_etcd(inventory):
    found = inventory({"hosts.ini": "[etcd]\na\nb\n", "host_vars/b.yml": "machinectl: {etcd: false}\n"})
    assert (found["a"].etcd, found["b"].etcd) == (True, False)


REFUSED = [
    ("registry-mirors: [http://x]", "did you mean 'registry-mirrors'?"),
    ("registry-mirrors: http://x", "a list is wanted"),
    ("registry-mirrors: [x]", "no URL"),
    ("registry-mirrors: [http://x, http://x]", "there twice"),
    ("registry-mirrors: [http://x]\nregistry_mirror: [http://y]", "are the same setting"),
    ("engine-version: 26.10", "put it into quotation marks"),
    ("engine-port: 2375", "without TLS"),
    ("engine-port: 70000", "from 1 to 65535"),
    ("mtu: big", "a whole number"),
    ("live-restore: 7", "true or false"),
    ("labels: [x]", "no label"),
    ("dns: [localhost]", "no address"),
    ("default-ulimits: {nofile: many}", "SOFT[:HARD]"),
    ("hosts: [tcp://0.0.0.0]", "can't be set"),
    ("tlsverify: false", "can't be set"),
    ("engine-opt: {tlsverify: false}", "can't be set"),
    ("engine-opt: {log-levle: x}", "did you mean 'log-level'"),
    ("engine-env: {'a b': x}", "no name of a variable"),
    ("sysctl: [a]", "a mapping is wanted"),
    ("network: 5", "true or false"),
    ("network: {port: 5}", "has no 'port'"),
    ("adopt: true\nengine-version: '26'", "takes the engine as it is"),
    ("engine-mirror: mirror", "no URL"),
    ("files: {dest: /x}", "a list is wanted"),
    ("files: [{dest: /x}]", "exactly one of"),
    ("files: [{dest: x, content: y}]", "absolute path"),
    ("files: [{dest: /x, content: y, mode: rw}]", "no mode"),
    ("files: [{dest: /x, content: y, mod: 1}]", "has no 'mod'"),
    ("files: [{dest: /x, src: nothing}]", "there is no file nothing"),
    ("files: [{dest: /x, content: a}, {dest: /x, content: b}]", "there twice"),
    ("files: [{dest: /x, content: a, restart: 'a b'}]", "no systemd unit"),
    ("files: [{dest: /x, content: {a: b}}]", "content is a text"),
    ("files: [{dest: /x, content: yes}]", "content is a text"),
    ("files: [{dest: /a/../x, content: y}]", "absolute path"),
    ("files: [{dest: //x, content: y}]", "absolute path"),
    ("files: [{dest: /, content: y}]", "absolute path"),
    ("files: [{dest: /x/, content: y}]", "absolute path"),
    ("files: [{dest: /x, src: '~nobody-here/x'}]", "there is no file"),
    ("files: [{dest: /x, content: y, owner: [a]}]", "no name of a user"),
    ("files: [{dest: /x, content: y, group: 'a b'}]", "no name of a user"),
    ("files: [{dest: /x, content: y, secret: 1}]", "true or false"),
    ("engine-package: [x.deb]", "there is no file x.deb"),
    ("engine-env: {A: [b]}", "not a list"),
    ("engine-env: 'x:y@z'", "not a text"),
    ("packages: ['-x']", "no name of a package"),
    ("sysctl: {'a b': 1}", "no kernel setting"),
    ("tls-san: ['a b']", "neither an address nor"),
    ("ip: a b", "neither an address nor"),
    ("network: {advertise: [a]}", "an address or an interface"),
    ("files: [{dest: /x, content: '{{ nothing }}'}]", "'nothing' is undefined"),
    ("labels: ['x={{ 1/0 }}']", "division by zero"),
    ("labels: ['x={{ ().__class__.__bases__ }}']", "can't be filled in"),
    ("labels: ['x={{ a']", "can't be filled in"),
]


@pytest.mark.parametrize(("text", "what"), REFUSED, ids=[text.replace("\n", ", ") for text, _ in REFUSED])
def test_refused_with_file_and_line(inventory, text, what):
    with pytest.raises(InventoryError) as error:
        one(inventory, text)
    assert what in str(error.value)
    line = 6 if text.count("\n") and "same setting" in what else 5
    assert f"hosts.yml:{line}" in str(error.value), str(error.value)


def test_all_errors_come_at_once(inventory):
    with pytest.raises(InventoryError) as error:
        inventory({"hosts.yml": "all: {hosts: {a: {machinectl: {x: 1}}, b: {machinectl: {mtu: q}}}}\n"})
    assert "no setting 'x'" in str(error.value)
    assert "mtu: a whole number" in str(error.value)


def test_one_error_of_a_group_is_said_once(inventory):
    with pytest.raises(InventoryError) as error:
        inventory({"hosts.ini": "[web]\nw[1:50]\n", "group_vars/web.yml": "machinectl: {x: 1}\n"})
    assert str(error.value).count("no setting") == 1


def test_templates_see_the_hosts_variables(inventory):
    wish = inventory(
        {
            "hosts.ini": "[web]\na rack=3 deep='{{ rack }}'\nb\n[web:vars]\nansible_host={{ inventory_hostname }}.lan\n",
            "group_vars/web.yml": """
                machinectl:
                  engine-port: "{{ 2400 + rack | default(0) }}"
                  labels: ["rack={{ deep | default('none') }}", "of={{ groups.web | length }}"]
                  files:
                    - {dest: /etc/m, template: m.j2}
                    - {dest: /etc/b, src: blob, mode: 0600, secret: true}
                """,
            "templates/m.j2": "{% for one in group_names %}{{ one }}{% endfor %} {{ hostvars['b']['ansible_host'] }}\n",
            "files/blob": b"\0\xff{{ no }}",
        }
    )["a"]
    assert (wish.ssh.host, wish.ip, wish.engine_port) == ("a.lan", "a.lan", 2403)
    assert wish.engine["options"]["labels"] == ["rack=3", "of=2"]
    assert wish.files[0].content == b"web b.lan\n"
    assert (wish.files[1].content, wish.files[1].mode, wish.files[1].secret) == (
        b"\0\xff{{ no }}",
        0o600,
        True,
    )


def test_what_a_template_makes_keeps_its_kind(inventory):
    wish = inventory(
        {
            "hosts.yml": """
                all:
                  vars: {version: "26.10", mirrors: [http://a, http://b], number: 5}
                  hosts:
                    a:
                      machinectl:
                        engine-version: "{{ version }}"
                        registry-mirrors: "{{ mirrors }}"
                        max-concurrent-downloads: "{{ number }}"
                        files:
                          - {dest: /a, content: "{{ number }}"}
                          - dest: /b
                            content: |
                              {{ version }}
                """
        }
    )["a"]
    assert wish.engine["version"] == "26.10"
    assert wish.engine["options"] == {
        "registry-mirrors": ["http://a", "http://b"],
        "max-concurrent-downloads": 5,
    }
    assert [one.content for one in wish.files] == [b"5", b"26.10\n"]


def test_ansibles_ways_to_reach_a_host(inventory):
    found = inventory(
        {
            "hosts.ini": """
                a ansible_host=10.0.0.1 ansible_port=2222 ansible_user=ops ansible_ssh_private_key_file=~/k
                b:2200 ansible_ssh_common_args='-o ProxyJump=me@bastion:22 -o ServerAliveInterval=5'
                c ansible_ssh_common_args=-Jbastion ansible_become=false
                """
        }
    )
    assert (found["a"].ssh.host, found["a"].ssh.port, found["a"].ssh.user, found["a"].ssh.key) == (
        "10.0.0.1", 2222, "ops", "~/k",
    )  # fmt: skip
    assert (found["b"].ssh.port, found["b"].ssh.jump) == (2200, "me@bastion:22")
    assert (found["c"].ssh.jump, found["c"].become) == ("bastion", False)


@pytest.mark.parametrize(
    "variable",
    ["ansible_connection=winrm", "ansible_become_method=su", "ansible_become_user=x", "ansible_password=x",
     "ansible_become_password=x", "ansible_port=x", "ansible_ssh_common_args='-o ProxyCommand=nc'"],
)  # fmt: skip
def test_ways_that_machinectl_has_not_are_refused(inventory, variable):
    with pytest.raises(InventoryError) as error:
        inventory({"hosts.ini": f"a {variable}\n"})
    assert "=x" not in str(error.value)


def test_vaults_are_refused_only_where_they_are_needed(inventory):
    text = "all:\n  hosts:\n    a:\n      secret: !vault |\n        $ANSIBLE_VAULT;1.1;AES256\n        6162\n"
    assert inventory({"hosts.yml": text})["a"].name == "a"
    with pytest.raises(InventoryError, match="vault"):
        inventory({"hosts.yml": text + "      machinectl: {labels: ['x={{ secret }}', !vault 'x']}\n"})
    with pytest.raises(InventoryError, match="encrypted with Ansible's vault"):
        inventory({"host_vars/a.yml": "$ANSIBLE_VAULT;1.1;AES256\n6162\n"})


@pytest.mark.parametrize(
    ("name", "text", "what"),
    [
        ("hosts.yml", "all:\n  hosts:\n    a:\n    a:\n", "hosts.yml:4: 'a' is there twice, first in line 3"),
        ("hosts.yml", "all:\n hosts:\n  a:\n bad\n", "hosts.yml:"),
        ("hosts.yml", "plugin: aws_ec2\n", "plugins are not run"),
        ("hosts.yml", "all: {host: {a: }}\n", "can't have 'host'"),
        ("hosts.yml", "all: {hosts: [a]}\n", "no mapping"),
        ("hosts.yml", "all: {hosts: {1: }}\n", "quotation marks"),
        ("hosts.yml", "[a]\n", "mapping of groups"),
        ("hosts.ini", "[a b]\nx\n", "hosts.ini:1"),
        ("hosts.ini", "[a:b]\nx\n", "can't be :b"),
        ("hosts.ini", "a\n[x:children]\ny\n", "hosts.ini:3: there is no group y"),
        ("hosts.ini", "a b\n", "NAME=VALUE"),
        ("hosts.ini", "a b='\n", "can't be parted"),
        ("hosts.ini", "a[5:1]\n", "ends before it begins"),
        ("hosts.ini", "a[1:]\n", "has no end"),
        ("hosts.ini", "a[1:99999999]\n", "longer than"),
        ("hosts.ini", "[x]\n", "there is no host"),
        ("hosts", "#!/bin/sh\necho\n", "is a program"),
        ("hosts.toml", "[all]\n", "TOML"),
    ],
)
def test_files_that_are_no_inventory(inventory, name, text, what):
    with pytest.raises(InventoryError) as error:
        inventory({name: text})
    assert what in str(error.value)


def test_an_inventory_that_is_not_there(tmp_path):
    with pytest.raises(InventoryError, match="there is no inventory"):
        read_inventory([tmp_path / "x"])
    with pytest.raises(InventoryError, match="holds no inventory"):
        read_inventory([tmp_path])


@given(st.text(alphabet=st.sampled_from(list("ab:[]{}!&*#'\"-|>%@`,=\n \t019\0\\\u00e9")), max_size=80))
@example("a: &x [*x]")
@example("[" * 3000)
@example("{" * 3000)
@example("a: !!python/object:os.system x")
@example("? [a]\n: b")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=300)
def test_no_text_gives_a_traceback(tmp_path, text):
    for name in ("hosts.yml", "hosts.ini", "hosts"):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8", errors="surrogateescape")
        try:
            found = read_inventory([path])
            wishes(found, list(found.hosts))
            found.to_json()
        except InventoryError:
            pass
        finally:
            path.unlink()


def test_every_setting_can_be_found_by_all_of_its_names():
    for key in KEYS:
        for name in (key.name, *key.also):
            assert find_key(name, "x:1").name == key.name


def test_what_is_overruled_is_not_filled_in(inventory):
    wish = inventory(
        {
            "hosts.yml": """
                all:
                  vars: {machinectl: {engine-version: "{{ no }}", engine-env: {A: "{{ no }}", B: "2"}}}
                  hosts: {a: {machinectl: {engine-version: "26", engine-env: {A: "1"}}}}
                """
        }
    )["a"]
    assert (wish.engine["version"], wish.engine["env"]) == ("26", {"A": "1", "B": "2"})


def test_all_that_is_wrong_with_one_machine_is_said_at_once(inventory):
    with pytest.raises(InventoryError) as error:
        one(
            inventory,
            """
            mtux: 6
            bip: [1]
            files:
              - {dest: x, content: a}
              - {dest: /x, content: a, mode: 644}
            """,
        )
    text = str(error.value)
    for line, what in ((6, "mtux"), (7, "bip"), (9, "absolute path"), (10, "1204 in octal")):
        assert f"hosts.yml:{line}: " in text, text
        assert what in text
    assert text.count("\nerror: ") == 3


@pytest.mark.parametrize(
    ("mode", "number"), [("0644", 0o644), ("0777", 0o777), ('"640"', 0o640), ("0400", 0o400)]
)
def test_modes_as_people_write_them(inventory, mode, number):
    assert one(inventory, f"files: [{{dest: /x, content: y, mode: {mode}}}]\n").files[0].mode == number


@pytest.mark.parametrize(
    ("files", "place"),
    [
        ({"hosts.yml": "all:\n  hosts:\n    a:\n      ansible_port: x\n"}, "hosts.yml:4: a: "),
        ({"hosts.ini": "\na ansible_port=x\n"}, "hosts.ini:2: a: "),
        ({"hosts.ini": "a\n[all:vars]\nansible_port=x\n"}, "hosts.ini:3: a: "),
        ({"hosts.ini": "a\n", "group_vars/all.yml": "x: 1\nansible_port: x\n"}, "all.yml:2: a: "),
        ({"hosts.ini": "a ansible_port=y\n", "host_vars/a.yml": "ansible_port: x\n"}, "a.yml:1: a: "),
        ({"hosts.ini": "a\n", "host_vars/a.yml": "ansible_password: x\n"}, "a.yml:1: a: "),
    ],
)
def test_ways_to_a_host_are_refused_with_file_and_line(inventory, files, place):
    with pytest.raises(InventoryError) as error:
        inventory(files)
    assert place in str(error.value)
