"""What is done in the kernel by netlink and namespaces; the only importer of pyroute2.

Of pyroute2 the codecs of rtnetlink's messages are used, and none of its sockets: these fork, or start an event loop
and threads, to get a socket of another namespace, and take several file descriptors each. Ours is one plain socket.
"""
