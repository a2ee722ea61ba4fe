"""Docker Engine's configuration: options, daemon.json, the systemd drop-in, and what dockerd has loaded."""
