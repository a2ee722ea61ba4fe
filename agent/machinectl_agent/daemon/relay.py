"""Run as a script: has the daemon answer a request, where it runs from this same bundle; else becomes the agent.

    python3 -IS BUNDLE/machinectl_agent/daemon/relay.py SOCKET BUNDLE VERB

This is all that starts on a host that has nothing to do: 7 ms of processor time, half of what `import socket` alone
takes. So it loads nothing but what is built into Python. The daemon's answer begins with its hello and the facts;
whatever else it says (it is busy, of another bundle, does not know the verb), an agent of its own says better.
"""

import _socket  # what socket.py is made of
import posix
import sys
import time

HELLO_PATIENCE = 5.0
"""Seconds for a daemon to say hello; one that is slower hangs."""

PATIENCE = 30.0
"""Seconds in all until it begins its answer. The controller hears nothing meanwhile, and would give up after 45."""

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
    begun = begin(one, path, words_of(tree), request)
    if not begun:
        become_agent(tree, verb, request, path)
    write(1, begun)
    while True:
        part = one.recv(PIECE)
        if not part:
            return 0
        write(1, part)


def words_of(tree: str) -> "list[bytes]":
    """What a daemon says in its hello that runs from the same bundle by the same Python."""
    bundle, version = tree.rpartition("/")[2], sys.version.split()[0]
    return [
        b'"bundle":"%s"' % bundle.encode(),
        b'"python":"%s %s"' % (sys.executable.encode(), version.encode()),
    ]


def begin(one: "_socket.socket", path: str, words: "list[bytes]", request: bytes) -> bytes:
    """The first words of the answer; empty: it will be none."""
    try:
        end = time.monotonic() + HELLO_PATIENCE
        one.settimeout(HELLO_PATIENCE)
        one.connect(path)
        hello, more = read_line(one, b"", end)
        if more or not all(word in hello for word in words):
            return b""
        one.sendall(request)
        end = time.monotonic() + PATIENCE
        line, more = read_line(one, more, end)
        while b'"event":"alive"' in line:  # a slow host
            line, more = read_line(one, more, end)
        one.settimeout(None)
    except OSError:
        return b""
    return hello + line + more if b'"event":"facts"' in line else b""


def read_line(one: "_socket.socket", said: bytes, end: float) -> "tuple[bytes, bytes]":
    """The next line, and what has come after it; raises OSError where it is late or will not come."""
    while b"\n" not in said:
        one.settimeout(max(end - time.monotonic(), 0.001))
        part = one.recv(PIECE)
        if not part:
            raise OSError("it ended")
        said += part
    size = said.index(b"\n") + 1
    return said[:size], said[size:]


def become_agent(tree: str, verb: str, request: bytes, path: str) -> None:
    """With the request in a file: what the controller says later comes on stdin, as ever."""
    kept = unnamed(path)
    write(kept, request)
    posix.lseek(kept, 0, 0)
    posix.set_inheritable(kept, True)
    posix.execv(sys.executable, [sys.executable, "-IS", tree, verb, str(kept)])


def unnamed(path: str) -> int:
    """A file that nobody else sees; beside the daemon's socket where this Python was built for an old C library."""
    if hasattr(posix, "memfd_create"):
        return posix.memfd_create("request")
    name = f"{path}.{posix.getpid()}"
    descriptor = posix.open(name, posix.O_RDWR | posix.O_CREAT | posix.O_EXCL | posix.O_NOFOLLOW, 0o600)
    posix.unlink(name)
    return descriptor


def write(descriptor: int, content: bytes) -> None:
    while content:
        content = content[posix.write(descriptor, content) :]


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
