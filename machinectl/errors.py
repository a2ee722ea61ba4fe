"""Every exception of the controller.

MachinectlError                 exit 1
├── UsageError                  exit 2   the command line can't be understood
│   └── InventoryError          an inventory can't be understood; it names file and line
├── SomeMachinesFailed          exit 3   several machines, not all of them done
├── LockedError                 exit 4   somebody else is at work on the same thing
├── StoreError                  what we remember can't be read or written
│   ├── MachineNotFound
│   └── MachineExists
├── CertificateError            a certificate or key can't be made, read or trusted
├── ConnectionFailed            SSH did not get us in: unreachable, refused, timed out
│   ├── HostKeyChanged          the host shows another key than the pinned one
│   └── AuthenticationFailed    the host answers but takes none of our keys
├── BecomeFailed                sudo said no
├── RemoteFailed                a command on the host failed or ran out of time
├── AgentFailed                 the agent reported a problem (its `problem` code is kept)
├── EngineUnreachable           dockerd does not answer over TLS
├── EngineRefused               dockerd answers, and says no
├── RegistryFailed              a registry can't be reached, or says no
└── LabError                    the lab can't be built, booted or cleaned
"""

from __future__ import annotations


class MachinectlError(Exception):
    """What failed, why, and what to try; `problem` is the code that is the same on the wire.

    `str(error)` is the text that a person reads, without the leading ``error: ``:
    the machine's name (if any), what failed, then ``why:`` and ``try:`` lines.
    """

    exit_status = 1
    problem = "failed"

    def __init__(
        self, what: str, *, why: str = "", hint: str = "", machine: str = "", problem: str = ""
    ) -> None:
        super().__init__(what)
        self.what = what
        self.why = why
        self.hint = hint
        self.machine = machine
        if problem:
            self.problem = problem

    def __str__(self) -> str:
        head = f"{self.machine}: {self.what}" if self.machine else self.what
        lines = [head]
        if self.why:
            # a journal's lines stay below the word that heads them
            lines.append("  why: " + self.why.strip().replace("\n", "\n       "))
        if self.hint:
            lines.append(f"  try: {self.hint}")
        return "\n".join(lines)

    def document(self) -> dict[str, str]:
        """As --output json shows it."""
        return {"problem": self.problem, "what": self.what, "why": self.why, "try": self.hint}


class UsageError(MachinectlError):
    exit_status = 2
    problem = "usage"


class InventoryError(UsageError):
    problem = "inventory"


class SomeMachinesFailed(MachinectlError):
    exit_status = 3
    problem = "some-machines-failed"


class LockedError(MachinectlError):
    exit_status = 4
    problem = "locked"


class StoreError(MachinectlError):
    problem = "store"


class MachineNotFound(StoreError):
    problem = "machine-not-found"


class MachineExists(StoreError):
    problem = "machine-exists"


class CertificateError(MachinectlError):
    problem = "certificate"


CONNECTION_BROKEN = "connection-broken"
"""The problem of a `ConnectionFailed` that ended what had begun."""


class ConnectionFailed(MachinectlError):
    problem = "unreachable"


class HostKeyChanged(ConnectionFailed):
    problem = "host-key-changed"


class AuthenticationFailed(ConnectionFailed):
    problem = "authentication-failed"


class BecomeFailed(MachinectlError):
    problem = "become-failed"


class RemoteFailed(MachinectlError):
    problem = "remote-failed"


class AgentFailed(MachinectlError):
    problem = "agent-failed"


class EngineUnreachable(MachinectlError):
    problem = "engine-unreachable"


class EngineRefused(MachinectlError):
    problem = "engine-refused-call"


class RegistryFailed(MachinectlError):
    problem = "registry-failed"


class LabError(MachinectlError):
    problem = "lab"
