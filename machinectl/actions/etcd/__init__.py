"""etcd on machines of the store: each verb a file."""
