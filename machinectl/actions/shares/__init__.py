"""Volumes that several machines have."""
