"""Who listens by docker.sock's name."""

from __future__ import annotations

from machinectl_agent.engine.unix_socket import count_listening

TABLE = """Num       RefCount Protocol Flags    Type St Inode Path
0000000000000000: 00000002 00000000 00010000 0001 01 11 /run/docker.sock
0000000000000000: 00000003 00000000 00000000 0001 03 12 /run/docker.sock
0000000000000000: 00000002 00000000 00010000 0001 01 13 /run/docker.sock.old
0000000000000000: 00000002 00000000 00010000 0001 01 14
0000000000000000: 00000002 00000000 00010000 0001 01 15 @/run/docker.sock
"""


def test_only_listening_sockets_of_that_name_count():
    assert count_listening(TABLE) == 1
    own = "0000000000000000: 00000002 00000000 00010000 0001 01 19 /var/run/docker.sock\n"
    assert count_listening(TABLE + own) == 2
    assert count_listening("") == 0
