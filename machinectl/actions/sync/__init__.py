"""sync: a folder on many machines, only what changed."""
