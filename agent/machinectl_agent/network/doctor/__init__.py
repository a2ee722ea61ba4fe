"""`network doctor`: what is wrong with a machine's networks, why, and what to do. One check a file."""

from machinectl_agent.network.doctor.examine import doctor

__all__ = ["doctor"]
