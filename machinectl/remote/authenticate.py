"""Proving who we are to one host, and the error that says everything when it takes no key of ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from paramiko import AuthenticationException, BadAuthenticationType, SSHException
from paramiko.auth_strategy import AuthStrategy

from machinectl.errors import AuthenticationFailed
from machinectl.remote import keys
from machinectl.remote.deadline import Deadline
from machinectl.remote.sshconfig import Settings

if TYPE_CHECKING:
    from paramiko import Transport

_AGENT_PATIENCE = 60.0
"""Seconds; an agent may ask a person to confirm or to touch a token."""


class KeyStrategy(AuthStrategy):  # type: ignore[misc]  # paramiko has no types
    """paramiko's seam for authentication. `authenticate` returns or raises `AuthenticationFailed`."""

    def __init__(self, settings: Settings, deadline: Deadline, extra: tuple[Path, ...], label: str) -> None:
        super().__init__(ssh_config=None)
        self._settings = settings
        self._deadline = deadline
        self._extra = extra
        self._label = label
        self._tried: list[str] = []
        self._hints: list[str] = []
        self._allowed: list[str] = []

    def authenticate(self, transport: Transport) -> Any:
        agent = keys.open_agent(self._settings.agent, _AGENT_PATIENCE)
        try:
            for one in keys.candidates(self._settings, agent, self._deadline, extra=self._extra):
                if self._takes(transport, one):
                    return None
            if self._takes_anybody(transport):
                return None
        finally:
            if agent:
                agent._close()
        raise self._refused()

    def _takes(self, transport: Transport, one: keys.Candidate) -> bool:
        try:
            key = one.load()
        except keys.KeyUnusable as error:
            self._tried.append(f"{one.label}: {error}")
            self._hints += [error.hint] if error.hint else []
            return False
        transport.auth_timeout = self._deadline.left()
        try:
            more = transport.auth_publickey(self._settings.user, key)
        except BadAuthenticationType as error:
            self._allowed = list(error.allowed_types)
            self._tried.append(f"{one.label}: refused")
            return False
        except SSHException as error:
            if self._deadline.expired:
                raise
            self._tried.append(f"{one.label}: {_reason(error)}")
            if not transport.is_active():
                raise self._cut_off() from error
            return False
        if more:
            raise AuthenticationFailed(
                f"{self._label} takes the key {one.label} but wants more",
                why=f"it asks for {', '.join(more)} as well",
                hint="allow this user in by a key alone (AuthenticationMethods in sshd_config)",
            )
        return True

    def _takes_anybody(self, transport: Transport) -> bool:
        """Some servers need no proof (Tailscale SSH); the others say here what they do take."""
        transport.auth_timeout = self._deadline.left()
        try:
            transport.auth_none(self._settings.user)
        except BadAuthenticationType as error:
            self._allowed = list(error.allowed_types)
        except SSHException as error:
            if not transport.is_active() and not self._deadline.expired:
                raise self._cut_off() from error
            return False
        else:
            return True
        return False

    def _refused(self) -> AuthenticationFailed:
        tried = "; ".join(self._tried) or "there is no key to try"
        allowed = f". It accepts: {', '.join(self._allowed)}" if self._allowed else ""
        hints = [*self._hints, "--ssh-key PATH, --ssh-user NAME, or ssh-copy-id"]
        if self._allowed and "publickey" not in self._allowed:
            hints = ["allow keys (PubkeyAuthentication in sshd_config); passwords are not supported"]
        return AuthenticationFailed(
            f"{self._label} takes none of our keys for user {self._settings.user}",
            why=tried + allowed,
            hint=hints[0],
        )

    def _cut_off(self) -> AuthenticationFailed:
        return AuthenticationFailed(
            f"{self._label} cut the connection off after {len(self._tried)} keys",
            why="; ".join(self._tried) or "it did so before any key was tried",
            hint="name the one key: --ssh-key PATH, or IdentitiesOnly yes in ~/.ssh/config",
        )


def _reason(error: SSHException) -> str:
    return "refused" if type(error) is AuthenticationException else str(error) or type(error).__name__
