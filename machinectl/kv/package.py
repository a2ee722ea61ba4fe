"""Imports etcd3, with what its age needs."""

from __future__ import annotations

import os
import warnings
from functools import lru_cache
from typing import Any

_ENVIRONMENT = {
    # etcd3's generated code is from 2020: today's protobuf takes it only in its pure Python implementation
    "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python",
    # what gRPC has to say is in the errors; on stderr it would be noise between our own lines
    "GRPC_VERBOSITY": "NONE",
    "GRPC_ENABLE_FORK_SUPPORT": "0",
}


@lru_cache(maxsize=1)
def etcd3() -> Any:
    """The package. 0.3 s and 30 MB: never at the top of a module."""
    before = {name: os.environ.get(name) for name in _ENVIRONMENT}
    os.environ.update(_ENVIRONMENT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # thousands, by the generated code
            import etcd3 as package  # noqa: PLC0415 - see above
    finally:
        # both libraries read them once, and processes that we start should not see them
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
    return package


def rpc() -> Any:
    """The generated messages and stubs."""
    return etcd3().etcdrpc
