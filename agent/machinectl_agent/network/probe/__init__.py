"""Whether VXLAN packets get from one machine to another, tried with packets that look like VXLAN's to every firewall.

    asker                              etcd                         peer
    probes/ID: nonce, VTEP, lease  ──► watch ─────────────────────► opens an ear for EAR seconds
                                       heard/ID/PEER ◄───────────── "I listen", then the sizes that came
    UDP to port 4789, VNI of nobody ──────────────────────────────► ear (behind its INPUT rules)
    ear ◄────────────────────────────────────────────────────────── answer to port 4789, with its clock

So "blocked" and "down" are told apart, and so are the two directions. The ear is a raw socket: the kernel's VXLAN
owns the port. It is open only while somebody asks, as it costs a copy of every UDP packet that comes in meanwhile.
"""
