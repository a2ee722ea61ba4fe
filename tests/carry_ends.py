"""Ends for tests of the carry itself: they pour and drink bytes, and fail where they are told to."""

from __future__ import annotations

import hashlib

from machinectl.remote.bundle import Bundle, build_bundle

ENDS = """

import hashlib, os, time
from machinectl_agent.problems import Problem

BLOCK = bytes(range(256)) * 1024

def _pour(args, sink, session):
    left = args["size"]
    while left:
        if args.get("fail_at") is not None and args["size"] - left >= args["fail_at"]:
            raise Problem("source-changed", "it changed while it was read", hint="again")
        part = BLOCK[:min(left, args.get("part", len(BLOCK)))]
        sink.write(part)
        left -= len(part)
    session.log("poured")
    return {"poured": args["size"]}

def _drink(args, source, session):
    path = args.get("path") or os.devnull
    part = path + ".part"
    digest = hashlib.sha256()
    size = 0
    try:
        with open(part if args.get("path") else path, "wb") as file:
            while piece := source.read(100_000):
                size += len(piece)
                digest.update(piece)
                file.write(piece)
                if args.get("fail_at") is not None and size >= args["fail_at"]:
                    raise Problem("disk-full", "the disk is full")
    except BaseException:
        if args.get("path"):
            os.unlink(part)
        raise
    if args.get("path"):
        os.rename(part, path)
    return {"drunk": size, "sha256": digest.hexdigest(), "user": os.geteuid()}

def _note(args, session):
    with open(args["note"], "a") as file:
        file.write(args["text"])
    if args.get("cut"):
        os.kill(os.getppid(), 9)
    return {"noted": args["text"]}

AFTERWARDS["bytes"] = _note
PRODUCERS["bytes"] = _pour
CONSUMERS["bytes"] = _drink
"""

BLOCK = bytes(range(256)) * 1024


def bundle_with_bytes() -> Bundle:
    """Ours, with the kind `bytes`."""
    files = dict(build_bundle().files)
    files["machinectl_agent/files/ends.py"] += ENDS.encode()
    return Bundle(files)


def sha256_of(size: int) -> str:
    """What `_drink` must say of that many bytes."""
    digest = hashlib.sha256()
    while size:
        part = BLOCK[: min(size, len(BLOCK))]
        digest.update(part)
        size -= len(part)
    return digest.hexdigest()
