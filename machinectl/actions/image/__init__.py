"""Images: to many machines, from a machine, from this computer's own docker, from tar files, from registries."""
