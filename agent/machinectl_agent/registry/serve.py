"""Starts a mirror's registry, which by itself ends at once while its upstream is away.

    upstream answers    the registry takes this process's place
    it does not         the registry serves what is cached, without an upstream, until that answers; then this
                        process ends, and systemd starts it again

Runs by itself, from /opt/machinectl/registry, outside of any agent's bundle: it imports nothing of ours.

    serve.py UPSTREAM TRUST CONFIG OFFLINE PROGRAM…
"""

from __future__ import annotations

import os
import signal
import ssl
import subprocess
import sys
import urllib.error
import urllib.request

DEADLINE = 5.0
PAUSE = 10.0
"""Seconds between two looks at an upstream that is away."""


def answers(upstream: str, trust: str) -> bool:
    """Any word of HTTP will do: a login that is refused is the registry's own affair."""
    context = ssl.create_default_context()
    if os.path.exists(trust):  # noqa: PTH110 - nothing is imported that need not be
        context.load_verify_locations(trust)
    # Go takes certificates without key identifiers, which Python 3.13 would not
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    try:
        with urllib.request.urlopen(upstream.rstrip("/") + "/v2/", timeout=DEADLINE, context=context):  # noqa: S310 - http(s), checked by the controller
            return True
    except urllib.error.HTTPError as error:
        return error.code < 500
    except (OSError, ValueError):
        return False


def main(upstream: str, trust: str, config: str, offline: str, *program: str) -> int:
    if answers(upstream, trust):
        os.execv(program[0], [*program, config])  # noqa: S606
    print(f"{upstream} does not answer: serving what is cached", flush=True)
    child = subprocess.Popen([*program, offline])
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    while True:
        try:
            return child.wait(PAUSE)
        except subprocess.TimeoutExpired:
            if answers(upstream, trust):
                print(f"{upstream} answers again", flush=True)
                child.terminate()
                child.wait()
                return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
