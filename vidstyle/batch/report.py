"""What a batch leaves beside its results: figures as JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vidstyle import __version__
from vidstyle.batch.jobs import Job, JobFile
from vidstyle.batch.ledger import BEGUN, Ledger
from vidstyle.video.target import write_text


def write_report(job_file: JobFile, ledger: Ledger, seconds: float) -> Path:
    """Replaces the report of an earlier run; gives its path."""
    facts = {
        "vidstyle": __version__,
        "job_file": str(job_file.path),
        "seconds": round(seconds, 3),
        "jobs": [_facts(job, ledger) for job in job_file.jobs],
    }
    path = job_file.out / f"{job_file.path.stem}-report.json"
    write_text(path, json.dumps(facts, indent=2) + "\n", overwrite=True)
    return path


def _facts(job: Job, ledger: Ledger) -> dict[str, Any]:
    """`state` is finished, failed with a `reason`, or missing."""
    outcome = ledger[job]
    facts: dict[str, Any] = {
        "result": str(job.target),
        "clip": str(job.clip),
        "styles": [str(style) for style in job.styles],
        "state": "missing" if outcome is None or outcome.state == BEGUN else outcome.state,
        "line": job.line,
    }
    if outcome is not None:
        facts |= {"attempts": outcome.attempts, "reason": outcome.reason} | outcome.report
    return facts
