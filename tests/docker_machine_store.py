"""A store as docker-machine has made it: RSA certificates without key identifiers, PKCS #1 keys, absolute paths.

After libmachine/cert/cert.go and libmachine/host of docker/machine 0.16.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = datetime.timedelta(days=1080)


def _key():
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )


def _certificate(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


def _usage(**on):
    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    return x509.KeyUsage(**{name: bool(on.get(name)) for name in names})


class Certificates:
    """One CA, as `docker-machine create` makes it in an empty store."""

    def __init__(self, org="u", age=datetime.timedelta(0)):
        self.org, self.age = org, age
        self.key = _key()
        builder = self._builder(org, org, self.key)
        usage = _usage(digital_signature=True, key_encipherment=True, key_agreement=True, key_cert_sign=True)
        builder = builder.add_extension(usage, critical=True).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.certificate = builder.sign(self.key, hashes.SHA256())

    def _builder(self, subject, issuer, key):
        began = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=5) - self.age
        names = [x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, one)]) for one in (subject, issuer)]
        return (
            x509.CertificateBuilder()
            .subject_name(names[0])
            .issuer_name(names[1])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(began)
            .not_valid_after(began + LIFETIME)
        )

    def leaf(self, hosts=()):
        """Certificate and key, PEM; without hosts it is a client's."""
        key = _key()
        builder = self._builder(f"{self.org}.<bootstrap>", self.org, key)
        purpose = ExtendedKeyUsageOID.SERVER_AUTH if hosts else ExtendedKeyUsageOID.CLIENT_AUTH
        usage = _usage(digital_signature=True, key_encipherment=bool(hosts), key_agreement=bool(hosts))
        builder = builder.add_extension(usage, critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        if hosts:
            builder = builder.add_extension(
                x509.SubjectAlternativeName([_general(one) for one in hosts]), critical=False
            )
        return _certificate(builder.sign(self.key, hashes.SHA256())), _pem(key)

    def pair(self):
        return _certificate(self.certificate), _pem(self.key)


def _general(host):
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def make_store(path: Path, certificates: Certificates, recorded: str = "/home/u/.docker/machine"):
    """certs/, and where its records say that it is."""
    (path / "certs").mkdir(parents=True)
    for name, content in zip(("ca.pem", "ca-key.pem"), certificates.pair(), strict=True):
        (path / "certs" / name).write_bytes(content)
    for name, content in zip(("cert.pem", "key.pem"), certificates.leaf(), strict=True):
        (path / "certs" / name).write_bytes(content)
    (path / "recorded").write_text(recorded)
    return path


def add_machine(
    path: Path,
    certificates: Certificates,
    name,
    ip,
    *,
    version=3,
    driver="generic",
    key=b"",
    engine=None,
    **fields,
):
    """machines/NAME as `docker-machine create` leaves it."""
    recorded = (path / "recorded").read_text()
    folder = path / "machines" / name
    folder.mkdir(parents=True)
    for one in ("ca.pem", "cert.pem", "key.pem"):
        (folder / one).write_bytes((path / "certs" / one).read_bytes())
    for one, content in zip(
        ("server.pem", "server-key.pem"), certificates.leaf([ip, "localhost"]), strict=True
    ):
        (folder / one).write_bytes(content)
    if key:
        (folder / "id_rsa").write_bytes(key)
        (folder / "id_rsa.pub").write_bytes(b"ssh-rsa x")
    base = {
        "IPAddress": ip, "MachineName": name, "SSHUser": "root", "SSHPort": 22,
        "SSHKeyPath": f"{recorded}/machines/{name}/id_rsa" if key else "", "StorePath": recorded,
        "SwarmMaster": False, "SwarmHost": "", "SwarmDiscovery": "",
    }  # fmt: skip
    if driver == "generic":
        base |= {"EnginePort": 2376, "SSHKey": "/home/u/.ssh/id_rsa"}
    base |= fields
    paths = {
        "CaCertPath": f"{recorded}/certs/ca.pem", "ServerCertPath": f"{recorded}/machines/{name}/server.pem",
        "ServerKeyPath": f"{recorded}/machines/{name}/server-key.pem", "ClientKeyPath": f"{recorded}/certs/key.pem",
        "ClientCertPath": f"{recorded}/certs/cert.pem",
    }  # fmt: skip
    options = {
        "ArbitraryFlags": [], "Dns": None, "GraphDir": "", "Env": [], "Ipv6": False, "InsecureRegistry": [],
        "Labels": [], "LogLevel": "", "StorageDriver": "", "SelinuxEnabled": False, "TlsVerify": True,
        "RegistryMirror": [], "InstallURL": "https://get.docker.com", **(engine or {}),
    }  # fmt: skip
    auth = {
        **paths, "CertDir": f"{recorded}/certs", "CaPrivateKeyPath": f"{recorded}/certs/ca-key.pem",
        "CaCertRemotePath": "/etc/docker/ca.pem", "ServerCertRemotePath": "/etc/docker/server.pem",
        "ServerKeyRemotePath": "/etc/docker/server-key.pem", "ServerCertSANs": [],
        "StorePath": f"{recorded}/machines/{name}",
    }  # fmt: skip
    swarm = {"IsSwarm": False, "Address": "", "Discovery": "", "Master": False, "Host": "tcp://0.0.0.0:3376"}
    host = {
        "Driver": "",
        "Memory": 0,
        "Disk": 0,
        "EngineOptions": options,
        "SwarmOptions": swarm,
        "AuthOptions": auth,
    }
    document = {
        "ConfigVersion": version,
        "Driver": base,
        "DriverName": driver,
        "HostOptions": host,
        "Name": name,
    }
    if version < 3:
        del base["StorePath"]
    if version < 2:
        del document["Name"], auth["CertDir"]
        auth["PrivateKeyPath"] = auth.pop("CaPrivateKeyPath")
        document["StorePath"] = f"{recorded}/machines/{name}"
    if version < 1:
        document = {
            "DriverName": driver, "Driver": base, "StorePath": f"{recorded}/machines/{name}",
            "PrivateKeyPath": f"{recorded}/certs/ca-key.pem", "SwarmHost": "", "SwarmMaster": False, **paths,
        }  # fmt: skip
    (folder / "config.json").write_text(json.dumps(document, indent=4))
    return folder
