"""What the machines share, as etcd transactions: see registry.py."""
