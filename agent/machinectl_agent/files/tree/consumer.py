"""A stream into files and folders of this host (see records.py): first beside the target, then by its name."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any, BinaryIO, Dict, List, Mapping, Optional, cast

from machinectl_agent.files.framing import broken
from machinectl_agent.files.tree import records
from machinectl_agent.files.tree.commit import Commit
from machinectl_agent.files.tree.faults import problem_of, show, to_bytes
from machinectl_agent.files.tree.pour import pour
from machinectl_agent.files.tree.progress import Pace, Teller
from machinectl_agent.files.tree.settling import FEW, Settling
from machinectl_agent.files.tree.staging import Staging
from machinectl_agent.files.tree.target import Place, Target
from machinectl_agent.files.tree.writer import TreeWriter
from machinectl_agent.problems import Problem

PART = 32 * 1024 * 1024
"""Bytes of small files of which the disk gets to work while more come."""

_BLOCK = 4096
"""Bytes that a file takes of a disk at least, roughly."""

WORTH_KEEPING = 16 * 1024 * 1024
"""Bytes; a copy that broke off with fewer is cleared away at once."""


def consume_tree(args: Mapping[str, Any], source: BinaryIO, session: Teller) -> Dict[str, Any]:
    """args: target, into (it must be a folder), names (what may come, see target.py), recursive, archive, times,
    resume (go on with what is there of it; keep it where it breaks off again) → files, bytes."""
    consumer = _Consumer(args, source, session)
    try:
        return consumer.run()
    except Problem as problem:
        consumer.clear(problem, may_go_on=problem.code == "stream-broken")
        raise
    except BaseException as error:
        consumer.clear(None, may_go_on=not isinstance(error, Exception))  # Ctrl-C, on a person's own computer
        raise
    finally:
        consumer.close()


class _Consumer:
    def __init__(self, args: Mapping[str, Any], source: BinaryIO, session: Teller) -> None:
        self._target = to_bytes(str(args["target"]))
        self._into = bool(args.get("into"))
        self._names = args.get("names")
        self._archive = bool(args.get("archive"))
        self._recursive = bool(args.get("recursive"))
        self._exact = self._archive or bool(args.get("times"))
        self._resume = bool(args.get("resume"))
        self._source = cast(BinaryIO, io.BufferedReader(cast(io.RawIOBase, source), 1024 * 1024))
        self._session = session
        self._pace = Pace(session)
        self._staging: Optional[Staging] = None
        self._settling: Optional[Settling] = None
        self._writer: Optional[TreeWriter] = None
        self._open = contextlib.ExitStack()
        self._places: List[Place] = []

    def run(self) -> Dict[str, Any]:
        plan = json.loads(self._expect(records.PLAN).name)
        target = Target(self._target, plan, into=self._into, names=self._names)
        self._open.callback(target.close)
        root = json.loads(self._expect(records.ROOT).name)
        place = target.place(root)
        if place.special and plan["roots"] == 1:
            return self._pour(place)
        only = to_bytes(str(root["name"])) if place.folder and plan["roots"] == 1 else b""
        self._staging = Staging(self._target, only, resume=self._resume)
        self._settling = Settling(self._staging.descriptor, PART)
        self._open.callback(self._settling.finish)
        self._writer = writer = TreeWriter(
            self._source,
            self._staging.descriptor,
            self._pace,
            exact=self._exact,
            archive=self._archive,
            recursive=self._recursive,
            resume=self._resume,
            wrote_small=self._wrote_small,
        )
        self._begin(place)
        while (record := records.decode(self._source)).kind != records.END:
            if record.kind == records.ROOT:
                self._begin(target.place(json.loads(record.name)))
            else:
                writer.take(record)
        writer.end()
        self._whole()
        self._commit()
        return {"files": writer.files, "bytes": writer.bytes}

    def close(self) -> None:
        self._open.close()

    def clear(self, problem: Optional[Problem], *, may_go_on: bool) -> None:
        """Nothing is left of what failed, but what is worth going on with where nothing is wrong with it."""
        if self._writer:
            self._writer.close()
        if not self._staging:
            return
        size = self._staging.size() if may_go_on and self._staging.lasts else 0
        if size < (1 if self._resume else WORTH_KEEPING):
            self._staging.remove()
            return
        self._staging.keep()
        if problem:
            problem.hint = f"the same with --resume goes on: {size} bytes are there already"

    def _begin(self, place: Place) -> None:
        assert self._writer
        if place.special:
            what = f"{show(place.path)} is a device or FIFO, and several files are copied"
            raise Problem("not-a-file", what, hint="copy to it by itself")
        self._writer.root(place, len(self._places))
        self._places.append(place)

    def _wrote_small(self, size: int) -> None:
        """Where they stay few, each is synced alone: not all that others write on the file system."""
        if self._writer and self._settling and self._writer.files > FEW:
            self._settling.wrote(max(size, _BLOCK))

    def _whole(self) -> None:
        """The end mark came: what was written is all."""
        if self._source.read(1):
            raise broken("more came than a tree")

    def _commit(self) -> None:
        assert self._staging
        assert self._settling
        assert self._writer
        self._writer.close()
        staging = self._staging
        try:
            self._settling.settle(few=self._writer.files <= FEW)
        except OSError as error:
            raise problem_of(error, self._target) from error
        commit = Commit(staging, exact=self._exact)
        self._open.callback(commit.close)
        for number in sorted(self._writer.roots):
            commit.plan(number, self._places[number])
        commit.run()
        staging.remove()
        commit.finish()

    def _pour(self, place: Place) -> Dict[str, Any]:
        """Into a device or FIFO: there is nothing to rename."""
        record = records.decode(self._source)
        while record.kind in (records.USER, records.GROUP):
            record = records.decode(self._source)
        pour(self._source, place, record, self._session)
        self._expect(records.END)
        self._whole()
        return {"files": 1, "bytes": record.size}

    def _expect(self, kind: int) -> records.Record:
        record = records.decode(self._source)
        if record.kind != kind:
            raise broken("what came is no tree")
        return record
