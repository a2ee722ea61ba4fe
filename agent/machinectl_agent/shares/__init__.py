"""Volumes that several machines have: one exports the folder, the others mount it as a volume of Docker's.

naming.py    names, folders and units of a share     record.py    what a machine knows of its shares
checks.py    whether host and kernel can do it       ops.py       the agent's verb `shares`
nfs.py       an export, and the options of a volume that mounts it
listing.py   what is shared with this machine and by it
sftp.py      the exporting end where NFS is missing  sshfs.py     the other end of that
"""
