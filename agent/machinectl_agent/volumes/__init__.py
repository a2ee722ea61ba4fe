"""Volumes of this machine: named ones of Docker's and folders that containers mount, copied as they are.

place.py    a name → the folder with its contents      users.py   which containers have it
where.py    one folder under two names           mounts.py  what is mounted where
shared.py   what other machines have, too
coming.py   containers that come and go
holding.py  containers paused or stopped meanwhile     keeper.py  the process that lets them go again, whatever dies
tree.py     GNU tar's stream of a folder               frame.py   what a backup's file says of itself
ends.py     the ends of a carry                        ops.py     questions and small changes (verb `volumes`)
"""
