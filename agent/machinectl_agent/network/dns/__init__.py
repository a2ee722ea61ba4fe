"""Names of containers on all machines, answered inside of each network; everything else is forwarded."""
