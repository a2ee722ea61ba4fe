"""Volumes of machines: what `machinectl volume` does."""
