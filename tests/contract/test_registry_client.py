"""The registry's client against peers that behave badly; with a real registry it is in tests/lab/test_registry.py."""

from __future__ import annotations

import base64
import http.server
import json
import socket
import threading

import pytest

from machinectl.errors import RegistryFailed
from machinectl.remote import registry_client
from machinectl.remote.registry_client import RegistryClient


@pytest.fixture
def serve():
    """`serve(answer)` → URL; `answer(path, headers)` → status, headers, body."""
    servers = []

    def start(answer):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                status, headers, body = answer(self.path, self.headers)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(b"" if self.command == "HEAD" else body)

            do_HEAD = do_GET  # noqa: N815 - the server's word
            do_DELETE = do_GET  # noqa: N815

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for one in servers:
        one.shutdown()
        one.server_close()


def problem(work):
    with pytest.raises(RegistryFailed) as caught:
        work()
    return caught.value


def test_pages_are_followed_and_the_login_goes_along(serve):
    seen = []

    def answer(path, headers):
        seen.append(headers["Authorization"])
        if "last=b" in path:
            return 200, {}, json.dumps({"repositories": ["c"]}).encode()
        page = json.dumps({"repositories": ["a", "b"]}).encode()
        return 200, {"Link": '</v2/_catalog?last=b&n=2>; rel="next"'}, page

    client = RegistryClient(serve(answer), user="ops", password="p:ä")
    assert client.repositories() == ["a", "b", "c"]
    assert seen == ["Basic " + base64.b64encode("ops:p:ä".encode()).decode()] * 2


def test_pages_in_a_circle_end(serve, monkeypatch):
    monkeypatch.setattr(registry_client, "PAGES", 3)
    url = serve(lambda *_: (200, {"Link": "</v2/_catalog>; rel=next"}, b'{"repositories":["a"]}'))
    assert RegistryClient(url).repositories() == ["a"] * 3


def test_a_link_leads_nowhere_else(serve):
    stolen = []

    def steal(_path, headers):
        stolen.append(headers["Authorization"])
        return 200, {}, b"{}"

    thief = serve(steal)
    pages = iter([{"Link": f'<{thief}/v2/_catalog?n=1>; rel="next"'}, {}])
    url = serve(lambda *_: (200, next(pages), b'{"repositories":["a"]}'))
    assert RegistryClient(url, user="ops", password="p").repositories() == ["a", "a"]
    assert stolen == []


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"\xff", b""])
def test_what_is_no_registry(serve, body):
    url = serve(lambda *_: (200, {}, body))
    assert "is no registry" in str(problem(RegistryClient(url).repositories))


def test_every_no_has_its_words(serve):
    def answer(path, headers):
        status = int(path.split("/")[2])
        body = b'{"errors":[{"code":"X","message":"out of order"}]}' if status == 500 else b"?"
        return status, {}, body

    client = RegistryClient(serve(answer), password="secret", user="ops")
    assert problem(lambda: client.tags("401")).problem == "registry-login"
    assert problem(lambda: client.tags("404")).problem == "registry-unknown"
    assert "out of order" in str(problem(lambda: client.tags("500")))
    assert "mirror" in str(problem(lambda: client.delete("405", "sha256:0")))
    assert "tells no digest" in str(problem(lambda: client.manifest("200", "1")))
    assert "secret" not in str(problem(lambda: client.tags("401")))


def test_parts_of_what_is_no_list(serve):
    for body in (b"{}", b"[]", b'{"manifests": [1]}', b'{"manifests": 1}', b"<html>"):
        client = RegistryClient(serve(lambda *_, body=body: (200, {}, body)))
        assert "can't be understood" in str(problem(lambda client=client: client.parts("app", "sha256:0")))


def test_nobody_and_silence():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert (
            problem(RegistryClient(f"http://127.0.0.1:{port}", deadline=0.2).ping).problem
            == "registry-timeout"
        )
        late = problem(RegistryClient(f"https://127.0.0.1:{port}", deadline=0.2).ping)
        assert late.problem == "registry-timeout"
    assert problem(RegistryClient(f"http://127.0.0.1:{port}").ping).problem == "registry-refused"


def test_plain_http_where_tls_is_wanted(serve):
    url = serve(lambda *_: (200, {}, b"{}")).replace("http://", "https://")
    assert "is no registry" in str(problem(RegistryClient(url).ping))
