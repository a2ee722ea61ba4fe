"""Docker registries on this machine: the distribution's program or a container, each by its port."""
