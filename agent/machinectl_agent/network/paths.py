"""Where the network service has its things on a machine, and its resolver's address; cheap to import."""

from __future__ import annotations

PREFIX = "/machinectl/v1/"
"""Of all keys in etcd."""
CONFIG = "/etc/machinectl/network.json"
PLUGIN_SOCKET = "/run/docker/plugins/machinectl.sock"
LEDGER = "/var/lib/machinectl/network.json"
CACHE = "/var/lib/machinectl/network-known.json"
ENDPOINTS = "/var/lib/machinectl/network-etcd.json"
RESOLVER = "169.254.77.53"
"""Link-local (RFC 3927) and the same on every machine, so that it never collides with an underlay; in
daemon.json's `dns`, and in every network's namespace."""
