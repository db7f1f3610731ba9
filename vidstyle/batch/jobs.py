"""A job file (TOML) as a list of jobs, each clip with its paintings, settings and result."""

from __future__ import annotations

import glob
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from string import Formatter
from types import NoneType
from typing import Any, Final, get_args

from vidstyle.disk import check_regular
from vidstyle.errors import InputError, RequestError, SettingsError
from vidstyle.options import OPTIONS, RenderSettings, clip_stem, render_settings
from vidstyle.video import default_ending
from vidstyle.video.sequence import ImageSequence

DEFAULT_NAME: Final = "{stem}-{style}{ending}"
_PLACES: Final = ("stem", "style", "ending")
_TOP: Final = {"out": str, "defaults": Mapping, "job": list}
_KEYS: Final[dict[str, Any]] = {"clip": str, "style": str | list, "name": str, **OPTIONS}
_HEADER: Final = re.compile(r"\s*\[\[?\s*[\w.]+\s*\]")
_WORDS: Final[dict[Any, str]] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    Path: "a file's name",
    list: "a list",
    Mapping: "a table",
}


@dataclass(frozen=True)
class Job:
    """One clip to render to `target`; `line` is where the job file asks for it."""

    clip: Path
    styles: tuple[Path, ...]
    target: Path
    settings: RenderSettings
    line: int


@dataclass(frozen=True)
class JobFile:
    """`out` is the folder of the results, of the report and of what is remembered of them."""

    path: Path
    out: Path
    jobs: list[Job]


def read_jobs(path: Path) -> JobFile:
    """Raises `RequestError` that names line and key: nothing is begun unless all of it is sound.

    Paths are relative to the job file. Whether a clip can be decoded is not asked here.
    """
    source = _Source.read(path)
    _check_keys(source, "", 0, source.entries, _TOP)
    folder = path.absolute().parent
    out = folder / source.entries.get("out", path.stem)
    defaults = _table(source, "defaults", 0, source.entries.get("defaults", {}))
    tables = source.entries.get("job", [])
    if not tables:
        raise RequestError(f"{path}: asks for nothing; write a [[job]] with a clip and a style")
    jobs: list[Job] = []
    for number, entries in enumerate(tables):
        own = _table(source, "job", number, entries)
        jobs += _Asked(source, number, own, defaults).jobs(folder, out)
    _check_targets(path, jobs)
    return JobFile(path, out, jobs)


class _Source:
    """A job file's text beside what it says: the parser does not tell a value's line."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self._lines = path, text.splitlines()
        try:
            self.entries = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise RequestError(f"{path}: not TOML: {error}") from error

    @classmethod
    def read(cls, path: Path) -> _Source:
        check_regular(path, "a job file")
        try:
            return cls(path, path.read_text(encoding="utf-8"))
        except OSError as error:
            raise InputError(f"{path}: {error.strerror}; name a job file") from error
        except UnicodeDecodeError as error:
            raise InputError(f"{path}: not text; write it as TOML in UTF-8") from error

    def line(self, table: str, number: int, key: str) -> int:
        """Of `key` in the `number`th `table`, else of that table's header; `number` from 0."""
        headers = [n for n, line in enumerate(self._lines) if _HEADER.match(line)]
        named = [n for n in headers if re.search(rf"\b{table}\b", self._lines[n])] if table else []
        start = named[number] if number < len(named) else 0
        end = min((n for n in headers if n > start), default=len(self._lines))
        words = re.sub("[-_]", "[-_]", re.escape(key).replace("\\-", "-"))
        given = re.compile(rf"""[\s{{,.\w]*\b{words}\b["']?\s*=""")
        found = (n for n in range(start, end) if given.match(self._lines[n]))
        return next(found, start) + 1

    def error(self, table: str, number: int, key: str, rule: object) -> SettingsError:
        line = self.line(table, number, key)
        return SettingsError(f"{self.path}, line {line}, {key}: {rule}")


def _table(source: _Source, name: str, number: int, entries: Any) -> dict[str, Any]:
    """Its entries by the options' names, which may be written with - or _."""
    if not isinstance(entries, Mapping):
        raise source.error("", 0, name, f"must be a table, [{name}] or [[{name}]]")
    for key in entries:
        if "-" in key and key.replace("-", "_") in entries:
            raise source.error(name, number, key, "given twice, with - and with _")
    named = {key.replace("-", "_"): value for key, value in entries.items()}
    _check_keys(source, name, number, named, _KEYS)
    return named


def _check_keys(
    source: _Source, table: str, number: int, entries: Mapping[str, Any], known: dict[str, Any]
) -> None:
    for key, value in entries.items():
        if key not in known:
            raise source.error(table, number, key, f"unknown; known are {', '.join(known)}")
        kinds = [kind for kind in get_args(known[key]) or (known[key],) if kind is not NoneType]
        if not any(_is(value, kind) for kind in kinds):
            rule = " or ".join(_WORDS[kind] for kind in kinds)
            raise source.error(table, number, key, f"{value!r} must be {rule}")
        texts = value if isinstance(value, list) else [value]
        if any(isinstance(text, str) and "\0" in text for text in texts):
            raise source.error(table, number, key, f"{value!r} must not hold the character 0")


def _is(value: object, kind: Any) -> bool:
    """As TOML has it: a file is text, a whole number is a number, true is none."""
    if isinstance(value, bool):
        return kind is bool
    accepted: dict[Any, Any] = {Path: str, float: (int, float)}
    return isinstance(value, accepted.get(kind, kind))


class _Asked:
    """One [[job]] and the defaults behind it."""

    def __init__(
        self, source: _Source, number: int, own: dict[str, Any], defaults: dict[str, Any]
    ) -> None:
        self._source, self._number, self._defaults = source, number, defaults.keys() - own.keys()
        self._entries = defaults | own

    def jobs(self, folder: Path, out: Path) -> Iterator[Job]:
        styles = self._styles(folder)
        settings = self._settings(folder)
        line = self._source.line("job", self._number, "clip")
        for clip in self._clips(folder):
            name = self._name(clip, styles[0], settings.output.codec)
            yield Job(clip, styles, out / name, settings, line)

    def _error(self, key: str, rule: object) -> SettingsError:
        table, number = ("defaults", 0) if key in self._defaults else ("job", self._number)
        return self._source.error(table, number, key, rule)

    def _styles(self, folder: Path) -> tuple[Path, ...]:
        given = self._entries.get("style", [])
        names = [given] if isinstance(given, str) else given
        if not names or not all(isinstance(name, str) for name in names):
            raise self._error("style", "name a painting's file, or a list of them to blend")
        paths = tuple(folder / name for name in names)
        for path in paths:
            if not os.path.isfile(path):  # unlike pathlib's, also for what is no name at all
                raise self._error("style", f"{path}: no such file; check the path")
        return paths

    def _clips(self, folder: Path) -> list[Path]:
        if "clip" not in self._entries:
            raise self._error("clip", "missing; name a clip, or several as shots/*.mp4")
        path = folder / self._entries["clip"]
        sequence = ImageSequence.of(path)
        if os.path.isfile(path) or (sequence is not None and sequence.numbers()):
            return [path]
        pattern = os.path.join(glob.escape(str(folder)), self._entries["clip"])
        names = glob.glob(pattern, recursive=True)
        found = sorted(Path(name) for name in names if os.path.isfile(name))
        if not found:
            raise self._error("clip", f"{path}: no such file; check the path")
        return found

    def _settings(self, folder: Path) -> RenderSettings:
        options = {
            key: folder / value if OPTIONS[key] == Path | None else value
            for key, value in self._entries.items()
            if key in OPTIONS
        }
        try:
            return render_settings(options)
        except SettingsError as error:
            raise self._error(_to_blame(options), error) from error

    def _name(self, clip: Path, style: Path, codec: str | None) -> str:
        pattern = self._entries.get("name", DEFAULT_NAME)
        ending = default_ending(clip, codec)
        try:
            places = {place for _, place, *_ in Formatter().parse(pattern) if place is not None}
        except ValueError as error:
            raise self._error("name", f"{pattern}: {error}") from error
        if not places <= set(_PLACES):
            raise self._error("name", f"{pattern}: may hold {{{'}, {'.join(_PLACES)}}} only")
        name = pattern.format(stem=clip_stem(clip), style=style.stem, ending=ending)
        if not Path(name).name or Path(name).is_absolute() or ".." in Path(name).parts:
            raise self._error("name", f"{name}: must lie in the output folder")
        return name


def _to_blame(options: dict[str, Any]) -> str:
    """The option that makes the others fail."""
    for count, name in enumerate(options, 1):
        try:
            render_settings(dict(list(options.items())[:count]))
        except SettingsError:
            return name
    raise AssertionError("called for options that are sound")


def _check_targets(path: Path, jobs: list[Job]) -> None:
    sources = {source.resolve() for job in jobs for source in (job.clip, *job.styles)}
    lines: dict[Path, int] = {}
    for job in jobs:
        target = job.target.resolve()
        if target in lines:
            raise SettingsError(
                f"{path}, line {job.line}, name: {job.target} is also the result of the job of "
                f'line {lines[target]}; tell them apart, e.g. name = "{{stem}}-2{{ending}}"'
            )
        if target in sources:
            raise SettingsError(
                f"{path}, line {job.line}, name: {job.target} is a clip or painting of this file; "
                "name another, or another folder with out"
            )
        lines[target] = job.line
