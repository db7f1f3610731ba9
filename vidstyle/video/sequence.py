"""Numbered pictures as one clip: `shot.%04d.png`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vidstyle.errors import InputError

_PLACE: Final = re.compile(r"(?P<before>[^%]*)%(0(?P<digits>\d))?d(?P<after>[^%]*)")
_NAMED: Final = 5  # missing numbers that an error lists


@dataclass(frozen=True)
class ImageSequence:
    """The files whose names `path` gives with a number in the place of `%04d` or `%d`."""

    path: Path

    @classmethod
    def of(cls, path: Path) -> ImageSequence | None:
        """None where the name holds no place for a number."""
        return cls(path) if _PLACE.fullmatch(path.name) else None

    @property
    def pattern(self) -> Path:
        """`path` for FFmpeg, which would else put the number into folders' names as well."""
        return Path(str(self.path.parent).replace("%", "%%"), self.path.name)

    def file(self, number: int) -> Path:
        return self.path.with_name(self.path.name % number)

    def numbers(self) -> list[int]:
        """Of the files that are there, in order."""
        place = _PLACE.fullmatch(self.path.name)
        assert place is not None
        name = re.compile(f"{re.escape(place['before'])}(\\d+){re.escape(place['after'])}")
        if not self.path.parent.is_dir():
            return []
        found = (name.fullmatch(entry.name) for entry in self.path.parent.iterdir())
        numbers = [(int(match[1]), match[0]) for match in found if match]
        # %04d is not 12 but 0012.
        return sorted(n for n, name_there in numbers if self.file(n).name == name_there)

    def unbroken(self) -> range:
        """First to last number; raises `InputError` where there are no files, or gaps."""
        numbers = self.numbers()
        if not numbers:
            raise InputError(f"{self.path}: no such files; check the path and the number's digits")
        whole = range(numbers[0], numbers[-1] + 1)
        missing = sorted(set(whole).difference(numbers))
        if missing:
            listed = ", ".join(map(str, missing[:_NAMED])) + ", …" * (len(missing) > _NAMED)
            raise InputError(
                f"{self.path}: {len(missing)} of the numbers {whole[0]} to {whole[-1]} missing "
                f"({listed}); add those files, or copy a neighbour in their place"
            )
        return whole
