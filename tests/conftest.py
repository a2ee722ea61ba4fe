"""For every test: in CI a skip is a failure; what needs root is skipped for everybody else."""

from __future__ import annotations

import os
import signal

import pytest
from hypothesis import HealthCheck, settings

# how long examples take says more about what else this machine does than about the code
settings.register_profile("project", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("project")

# a run in the background of a script ignores SIGINT, and so would all programs that tests interrupt
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    if os.geteuid() == 0:
        return
    needs_root = pytest.mark.skip(reason="needs root: sudo make test")
    for item in items:
        if item.get_closest_marker("root") or item.get_closest_marker("lab"):
            item.add_marker(needs_root)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.skipped and os.environ.get("CI") and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, and in CI a skip is a failure: {report.longrepr}"
    return report
