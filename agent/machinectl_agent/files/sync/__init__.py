"""A sync without the rsync program: what is in folders, what travels, what is done at the target."""
