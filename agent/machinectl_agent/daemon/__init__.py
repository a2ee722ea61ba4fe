"""The agent's service: supervises dockerd and answers on a root-only unix socket.

Thread `main` accepts clients and feeds systemd's watchdog, `supervisor` looks after dockerd, and each client
has a thread of its own for as long as its one question takes. Memory counts here: it runs on every machine
for ever, so http.client (6 MB), pathlib's friends and jinja2 stay out.
"""
