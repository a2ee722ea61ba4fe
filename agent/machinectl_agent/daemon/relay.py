"""Run as a script: has the daemon answer a request, where it runs from this same bundle; else becomes the agent.

    python3 -IS BUNDLE/machinectl_agent/daemon/relay.py SOCKET BUNDLE VERB

This is all that starts on a host that has nothing to do: 7 ms of processor time, half of what `import socket` alone
takes. So it loads nothing but what is built into Python. The daemon's answer begins with its hello and the facts;
whatever else it says (it is busy, of another bundle, does not know the verb), an agent of its own says better.
"""

import _socket  # what socket.py is made of
import posix
import sys

HELLO_PATIENCE = 5.0
"""Seconds for a daemon to say hello; one that is slower hangs."""

PATIENCE = 15.0
"""Seconds between two of its words; while it looks at a slow host, it says every 10 s that it lives."""

BEATS = 3
"""Words after which it is not waited for any longer: the controller hears nothing meanwhile."""

PIECE = 65536


def main(path: str, tree: str, verb: str) -> int:
    """Exit status 0 once the daemon has said all; the agent's own where it becomes the agent."""
    request = b""
    while not request.endswith(b"\n"):
        part = posix.read(0, PIECE)
        if not part:
            break
        request += part
    one = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    begun = begin(one, path, tree.rpartition("/")[2], request)
    if not begun:
        become_agent(tree, verb, request)
    write(1, begun)
    while True:
        part = one.recv(PIECE)
        if not part:
            return 0
        write(1, part)


def begin(one: "_socket.socket", path: str, bundle: str, request: bytes) -> bytes:
    """The first words of the answer; empty: it will be none."""
    try:
        one.settimeout(HELLO_PATIENCE)
        one.connect(path)
        hello, more = read_line(one, b"")
        if more or b'"bundle":"%s"' % bundle.encode() not in hello:
            return b""
        one.settimeout(PATIENCE)
        one.sendall(request)
        for _ in range(BEATS):
            line, more = read_line(one, more)
            if b'"event":"alive"' not in line:
                one.settimeout(None)
                return hello + line + more if b'"event":"facts"' in line else b""
    except OSError:
        pass
    return b""


def read_line(one: "_socket.socket", said: bytes) -> "tuple[bytes, bytes]":
    """The next line, and what has come after it; raises OSError where it is late or will not come."""
    while b"\n" not in said:
        part = one.recv(PIECE)
        if not part:
            raise OSError("it ended")
        said += part
    end = said.index(b"\n") + 1
    return said[:end], said[end:]


def become_agent(tree: str, verb: str, request: bytes) -> None:
    """With the request on stdin once more."""
    again = posix.memfd_create("request")
    write(again, request)
    posix.lseek(again, 0, 0)
    posix.dup2(again, 0)
    posix.execv(sys.executable, [sys.executable, "-IS", tree, verb])


def write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[posix.write(descriptor, content) :]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
