"""The only user of pyroute2: what is done in the kernel by netlink."""
