"""Run as a script: has the daemon answer a request, where it runs from this same bundle; else becomes the agent.

    python3 -IS BUNDLE/machinectl_agent/daemon/relay.py SOCKET BUNDLE VERB

This is all that starts on a host that has nothing to do: 7 ms of processor time, half of what `import socket` alone
takes. So it loads nothing but what is built into Python. The daemon's answer begins with its hello and the facts;
whatever else it says (it is busy, of another bundle, does not know the verb), an agent of its own says better.
"""

import _socket  # what socket.py is made of
import posix
import sys

PATIENCE = 5.0
"""Seconds for each of a daemon's first words; one that is slower does not count."""

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
        one.settimeout(PATIENCE)
        one.connect(path)
        said = read_lines(one, b"", 1)
        hello, _, more = said.partition(b"\n")
        if more or b'"bundle":"%s"' % bundle.encode() not in hello:
            return b""
        one.sendall(request)
        said = read_lines(one, said, 2)
        one.settimeout(None)
    except OSError:
        return b""
    return said if b'"event":"facts"' in said.split(b"\n")[1] else b""


def read_lines(one: "_socket.socket", said: bytes, count: int) -> bytes:
    """`said` and what comes, until there are `count` lines; raises OSError where it is late or ends."""
    while said.count(b"\n") < count:
        part = one.recv(PIECE)
        if not part:
            raise OSError("it ended")
        said += part
    return said


def become_agent(tree: str, verb: str, request: bytes) -> None:
    """With the request on stdin once more."""
    again = posix.memfd_create("request", 0)
    write(again, request)
    posix.lseek(again, 0, 0)
    posix.dup2(again, 0)
    posix.execv(sys.executable, [sys.executable, "-IS", tree, verb])


def write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[posix.write(descriptor, content) :]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
