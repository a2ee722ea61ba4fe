"""Between dockerd and the network service: passes each call on and writes it down. Runs on the lab host.

python3 - /run/docker/plugins/machinectl.sock /run/behind.sock /run/calls.jsonl < plugin_recorder.py
"""

from __future__ import annotations

import http.client
import http.server
import json
import socket
import socketserver
import sys
import threading
import time
from pathlib import Path

FRONT, BEHIND, FILE = sys.argv[1:4]
writing = threading.Lock()


class Behind(http.client.HTTPConnection):
    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(BEHIND)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = (
            self.rfile.read(int(self.headers["Content-Length"]))
            if "Content-Length" in self.headers
            else self.chunks()
        )
        began = time.time()
        behind = Behind("plugin")
        behind.request(
            "POST",
            self.path,
            body,
            {key: self.headers[key] for key in ("Accept", "Content-Type") if key in self.headers},
        )
        answer = behind.getresponse()
        content = answer.read()
        behind.close()
        line = {
            "call": self.path.lstrip("/"),
            "accept": self.headers.get("Accept"),
            "request": json.loads(body) if body.strip() else None,
            "status": answer.status,
            "answer": json.loads(content),
            "seconds": round(time.time() - began, 4),
        }
        with writing, Path(FILE).open("a") as file:
            file.write(json.dumps(line) + "\n")
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.headers["Content-Type"])
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def chunks(self):
        found = b""
        while self.headers.get("Transfer-Encoding") == "chunked":
            size = int(self.rfile.readline().split(b";")[0], 16)
            found += self.rfile.read(size)
            self.rfile.readline()
            if not size:
                break
        return found

    def log_message(self, *words):
        pass


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 128

    def get_request(self):
        return self.socket.accept()[0], "dockerd"


Path(FRONT).unlink(missing_ok=True)
Server(FRONT, Handler).serve_forever()
