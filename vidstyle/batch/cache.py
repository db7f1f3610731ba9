"""Results of earlier batches, whatever their job file: found by all that they were made from.

The user's cache folder has a small file for each, which says where the result lies.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path

from vidstyle.batch.ledger import Outcome
from vidstyle.disk import disk_errors, file_digest, sealed, unsealed, user_cache
from vidstyle.errors import OutputError
from vidstyle.video.sequence import ImageSequence
from vidstyle.video.target import PartialFile, PartialSequence, write_text


def find_result(key: str, target: Path) -> Outcome | None:
    """Of the very same picture, if it still is where and as it was made."""
    try:
        outcome = Outcome(**(unsealed(_record(key, target).read_bytes()) or {}))
        made = Path(outcome.report["result"])
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return outcome if file_digest(made) == outcome.digest else None


def remember_result(outcome: Outcome) -> None:
    """A folder that cannot be written costs no more than another render."""
    record = _record(outcome.key, Path(outcome.report["result"]))
    with suppress(OSError, OutputError):
        record.parent.mkdir(parents=True, exist_ok=True)
        write_text(record, json.dumps(sealed(asdict(replace(outcome, stills="")))), overwrite=True)


def copy_result(made: Path, target: Path, overwrite: bool) -> None:
    """Whole or not at all. Raises `OutputError` and `EncodeError` as a render would."""
    sequence = ImageSequence.of(made)
    partial = PartialSequence(target, overwrite) if sequence else PartialFile(target, overwrite)
    numbers = sequence.numbers() if sequence else []
    try:
        with disk_errors(target.parent, elsewhere="out"):
            sources, copies = _files(made, numbers), _files(partial.path, numbers)
            for source, copy in zip(sources, copies, strict=True):
                shutil.copyfile(source, copy)
            partial.commit()
    finally:
        partial.discard()


def _files(path: Path, numbers: list[int]) -> list[Path]:
    return [ImageSequence(path).file(number) for number in numbers] or [path]


def _record(key: str, target: Path) -> Path:
    # The container is chosen by the ending, which is no setting.
    return user_cache() / "results" / f"{key}{target.suffix}.json"
