"""What a batch leaves beside its results: figures as JSON, and a contact sheet as HTML."""

from __future__ import annotations

import json
import math
from collections import Counter
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, PackageLoader

from vidstyle import __version__
from vidstyle.batch.jobs import Job, JobFile
from vidstyle.batch.ledger import BEGUN, FAILED, FINISHED, Ledger
from vidstyle.video.target import write_text

MISSING: Final = "missing"
_ORDER: Final = (FAILED, MISSING, FINISHED)


def write_report(job_file: JobFile, ledger: Ledger, seconds: float) -> Path:
    """Replaces those of an earlier run; gives the JSON file's path."""
    jobs = [_facts(job, ledger) for job in job_file.jobs]
    facts = {
        "vidstyle": __version__,
        "job_file": str(job_file.path),
        "seconds": round(seconds, 3),
        "jobs": jobs,
    }
    path = job_file.out / f"{job_file.path.stem}-report.json"
    write_text(path, json.dumps(facts, indent=2) + "\n", overwrite=True)
    write_text(path.with_suffix(".html"), _sheet(job_file, jobs, ledger), overwrite=True)
    return path


def _facts(job: Job, ledger: Ledger) -> dict[str, Any]:
    """`state` is finished, failed with a `reason`, or missing."""
    outcome = ledger[job]
    facts: dict[str, Any] = {
        "result": str(job.target),
        "clip": str(job.clip),
        "styles": [str(style) for style in job.styles],
        "state": MISSING if outcome is None or outcome.state == BEGUN else outcome.state,
        "line": job.line,
    }
    if outcome is not None:
        facts |= {"attempts": outcome.attempts, "reason": outcome.reason} | outcome.report
    return facts


def _sheet(job_file: JobFile, jobs: list[dict[str, Any]], ledger: Ledger) -> str:
    """One file, whatever it shows inside it: it can be mailed, and needs no server."""
    cards = [_card(job, facts, ledger) for job, facts in zip(job_file.jobs, jobs, strict=True)]
    states = Counter(facts["state"] for facts in jobs)
    template = Environment(loader=PackageLoader("vidstyle", "batch"), autoescape=True)
    sheet = template.get_template("sheet.html").render(
        title=job_file.path.name,
        counts=", ".join(f"{states[state]} {state}" for state in _ORDER),
        jobs=sorted(cards, key=lambda card: card["order"]),
    )
    return sheet.encode(errors="backslashreplace").decode()  # a file's name may be no UTF-8


def _card(job: Job, facts: dict[str, Any], ledger: Ledger) -> dict[str, Any]:
    outcome = ledger[job]
    ratio = facts.get("warp_error_ratio")
    return {
        "name": ledger.name(job),
        "source": job.clip.name,
        "paintings": ", ".join(style.name for style in job.styles),
        "state": facts["state"],
        "reason": facts.get("reason", ""),
        "stills": outcome.stills if outcome else "",
        "figures": _figures(facts) if facts["state"] == FINISHED else [],
        # What failed first, then what flickers most.
        "order": (_ORDER.index(facts["state"]), -math.inf if ratio is None else -ratio),
    }


def _figures(facts: dict[str, Any]) -> list[tuple[str, str]]:
    ratio = facts.get("warp_error_ratio")
    flicker = "not measured" if ratio is None else f"{ratio:.2f} × the source's own"
    return [
        ("flicker", flicker),
        ("size", f"{facts['width']}×{facts['height']}"),
        ("frames", _frames(facts)),
        ("shots", str(facts["shots"])),
        ("time", f"{facts['seconds']:.1f} s, {facts['frames_per_second']:.2f} frames/s"),
        ("attempts", str(facts["attempts"])),
        *(("warning", text) for text in facts.get("warnings", ())),
    ]


def _frames(facts: dict[str, Any]) -> str:
    flaws = {"damaged": "damaged_frames", "broken packets skipped": "corrupt_packets"}
    said = [f"{name}: {facts[key]}" for name, key in flaws.items() if facts.get(key)]
    return ", ".join([str(facts["frames"]), *said])
