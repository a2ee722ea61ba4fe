"""etcd on this machine: the distribution's package or given programs, in a unit of our own, with mutual TLS only."""
