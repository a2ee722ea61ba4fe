"""Networks over all machines: a Docker network and IPAM driver whose state is in etcd.

    dockerd ──unix socket──► plugin ─► driver ─► registry ─► etcd
                                         │                    │ watch
    containers ── dns ◄── view ◄─────────┼────────────────────┘
                                         ▼
                                     dataplane (netlink): a namespace, a bridge and a VXLAN per network

Runs as a service of its own, so that a fault here never touches the supervision of dockerd.
"""
