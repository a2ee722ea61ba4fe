"""The guides' application as an image without a registry: Redis and Python of the distribution, and a page that
counts its hits in Redis. Made in a lab host, of the files that the two programs load and nothing else."""

from __future__ import annotations

import base64
import shlex

APP = """
import http.server, os, socket

class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with socket.create_connection((os.environ.get("REDIS_HOST", "redis"), 6379), timeout=5) as redis:
            redis.sendall(b"*2\\r\\n$4\\r\\nINCR\\r\\n$4\\r\\nhits\\r\\n")
            count = int(redis.recv(64)[1:])
        text = f"Hello Container World! I have been seen {count} times and my hostname is {socket.gethostname()}.\\n"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

http.server.ThreadingHTTPServer(("", 5000), Page).serve_forever()
"""

BUILD = r"""
set -eu
export DEBIAN_FRONTEND=noninteractive
[ -x /usr/bin/redis-server ] || { apt-get update -q >/dev/null; apt-get install -q -y --no-install-recommends redis-server >/dev/null; }
systemctl disable --now redis-server >/dev/null 2>&1 || true
root=/root/app-image; rm -rf $root; mkdir -p $root/bin $root/app $root/tmp $root/usr/bin $root/usr/lib $root/lib64 $root/etc
python=$(readlink -f /usr/bin/python3)
version=$(basename $python)
cp -L $python $root/usr/bin/python3
cp -L /usr/bin/redis-server $root/usr/bin/; cp -L /usr/bin/redis-cli $root/usr/bin/
cp -r /usr/lib/$version $root/usr/lib/
find $root/usr/lib -name __pycache__ -prune -exec rm -rf {} +
for program in $python /usr/bin/redis-server /usr/bin/redis-cli $(find /usr/lib/$version/lib-dynload -name '*.so'); do
  ldd $program | grep -o '/[^ ]*' || true
done | sort -u | while read -r library; do
  mkdir -p $root$(dirname $library); cp -L $library $root$library
done
cp -L /bin/busybox $root/bin/busybox
for applet in sh ls ping wget nslookup sleep cat ip nc hostname; do ln -sf busybox $root/bin/$applet; done
printf 'root:x:0:0:root:/:/bin/sh\n' > $root/etc/passwd
base64 -d > $root/app/app.py
tar -C $root -c . | docker import - app:latest >/dev/null
docker save app:latest -o /root/app.tar
"""


def build_app_image(host):
    """`app:latest` in the host's Docker; the path of `docker save`'s file on the host."""
    text = base64.b64encode(APP.encode()).decode()
    host.run(f"bash -c {shlex.quote(BUILD)}", stdin=text, deadline=300)
    return "/root/app.tar"
