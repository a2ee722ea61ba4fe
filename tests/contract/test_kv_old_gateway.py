"""etcd 3.3 has its gateway below /v3beta alone; 3.4 has both, so that a relay can show it as an old one."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from machinectl_agent.kv.gateway import Gateway
from machinectl_agent.kv.interface import LeaseGone
from tests.etcd_cluster import EtcdCluster
from tests.kv_clients import Reader

NOT_FOUND = (
    b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 19\r\n\r\n404 page not found\n"
)


class OldFace:
    """Passes everything on but what is asked below /v3/. A request of ours comes in one piece."""

    def __init__(self, port):
        self.port = port
        self.refused = 0
        self.server = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.server.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.server.accept()
                far = socket.create_connection(("127.0.0.1", self.port))
                threading.Thread(target=self._ask, args=(near, far), daemon=True).start()
                threading.Thread(target=self._answer, args=(far, near), daemon=True).start()

    def _ask(self, near, far):
        with contextlib.suppress(OSError), near, far:
            while part := near.recv(65536):
                if part.startswith(b"POST /v3/"):
                    self.refused += 1
                    near.sendall(NOT_FOUND)
                else:
                    far.sendall(part)

    def _answer(self, far, near):
        with contextlib.suppress(OSError):
            while part := far.recv(65536):
                near.sendall(part)


def test_the_older_prefix_is_found(tmp_path):
    with EtcdCluster(tmp_path / "etcd") as cluster:
        old = OldFace(cluster.ports[0])
        kv = Gateway([old.url])
        lease = kv.grant(60)
        kv.put("/a/1", b"one", lease=lease)
        assert kv.range("/a/").items[0].value == b"one"
        assert kv.keep_alive(lease) == 60
        assert kv.status().version.startswith("3.")
        kv.health()
        assert old.refused == 1  # and it is not asked again and again
        reader = Reader(kv.watch(["/a/"]))
        reader.wait(reader.snapshots)
        kv.revoke(lease)
        reader.wait(reader.changes)
        assert reader.changes()[0].value is None
        with pytest.raises(LeaseGone):
            kv.keep_alive(lease)
        assert reader.close() < 4
        kv.close()
        old.server.close()
