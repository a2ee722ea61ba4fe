"""Names of containers on all machines, answered inside of each network; everything else is forwarded.

    container ─► Docker's resolver ─► 169.254.77.53 in the network's namespace ─► server (one thread for all networks)
                                                                                    │ query: bytes → question
                    etcd's watch ─► zone (index of each network, who asks) ◄────────┤
                                                                                    ├─► answers: answer → bytes
                    the host's DNS servers ◄── relay (UDP), forward (TCP) ◄─────────┘

Packets are parsed and made by dnslib. Docker's resolver asks the next server of daemon.json's `dns` after SERVFAIL,
REFUSED and an NXDOMAIN without AA, and stops at one with AA: the status of what we don't answer is chosen for that.
"""
