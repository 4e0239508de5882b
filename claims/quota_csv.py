"""Quota as a CSV file: written, read back, and compared with what there is before anything is changed."""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from io import StringIO

from claims.models import Offering, Quota
from claims.services.quota import MOST
from console.organizations.models import Organization

NAMES = ("organization", "zone", "instance_type")
NUMBERS = ("limit", "reserved", "other_usage")
COLUMNS = NAMES + NUMBERS
MOST_BYTES, MOST_ROWS, MOST_CHANGES = 2**20, 10_000, 2_000
WHOLE = re.compile(r"[0-9]{1,7}")

Numbers = tuple[int, int, int]
"""limit, reserved, other use; in instances"""


@dataclass(frozen=True, slots=True)
class Wrong:
    """What is wrong in a line; the header is line 1."""

    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Change:
    """A quota that differs from the file. `before`: None where there is none yet."""

    line: int
    organization: Organization
    offering: Offering
    before: Numbers | None
    after: Numbers

    @property
    def words(self) -> list[tuple[str, int | None, int]]:
        """(what, from, to) of each number that differs."""
        before = self.before or (None, None, None)
        rows = zip(("limit", "reserved", "other use"), before, self.after, strict=True)
        return [row for row in rows if row[1] != row[2]]


@dataclass(slots=True)
class Reading:
    """A file as it would be imported: nothing is, where anything is wrong."""

    changes: list[Change] = field(default_factory=list)
    wrong: list[Wrong] = field(default_factory=list)
    same: int = 0


def quota_csv_rows() -> Iterator[Sequence[str]]:
    """Every quota, the header first."""
    yield COLUMNS
    rows = Quota.objects.order_by("organization__slug", "offering__zone__name", "offering__instance_type__name")
    found = rows.values_list("organization__id", "offering__zone__name", "offering__instance_type__name", *NUMBERS)
    for row in found.iterator(chunk_size=2000):
        yield [str(cell) for cell in row]


def quota_csv_read(data: bytes) -> Reading:
    """What the file would change, or what is wrong with it, line by line. Three queries, whatever its length."""
    found = Reading()
    if len(data) > MOST_BYTES:
        found.wrong.append(Wrong(1, f"the file is larger than {MOST_BYTES // 1024} KiB; import it in parts"))
        return found
    try:
        rows = list(csv.reader(StringIO(data.decode("utf-8-sig"), newline=""), strict=True))
    except UnicodeDecodeError:
        found.wrong.append(Wrong(1, "the file is not UTF-8 text"))
    except csv.Error as error:
        found.wrong.append(Wrong(1, f"the file is no CSV: {error}"))
    else:
        _read(rows, found)
    return found


def _read(rows: Sequence[list[str]], found: Reading) -> None:
    header = [cell.strip().lower() for cell in rows[0]] if rows else []
    if sorted(header) != sorted(COLUMNS):
        found.wrong.append(
            Wrong(1, f"the columns must be {', '.join(COLUMNS)}; they are {', '.join(header)[:200] or 'none'}")
        )
        return
    lines = [(line, row) for line, row in enumerate(rows[1:], 2) if row]
    if len(lines) > MOST_ROWS:
        found.wrong.append(Wrong(1, f"the file has {len(lines)} rows, {MOST_ROWS} are the most; import it in parts"))
        return
    _Reader(header, found).read(lines)
    if len(found.changes) > MOST_CHANGES:
        text = f"the file changes {len(found.changes)} quotas, {MOST_CHANGES} are the most at once; import it in parts"
        found.wrong.append(Wrong(1, text))


class _Reader:
    """Compares lines with what there is."""

    def __init__(self, header: list[str], found: Reading) -> None:
        self.header, self.found = header, found
        self.organizations = {name: one for one in Organization.objects.all() for name in (one.id, one.slug)}
        offerings = Offering.objects.select_related("zone", "instance_type")
        self.offerings = {(one.zone.name.lower(), one.instance_type.name.lower()): one for one in offerings}
        rows = Quota.objects.values_list("organization", "offering", *NUMBERS)
        self.quotas: Mapping[tuple[int, int], Numbers] = {(org, of): (a, b, c) for org, of, a, b, c in rows}
        self.seen: dict[tuple[int, int], int] = {}

    def read(self, lines: Iterable[tuple[int, list[str]]]) -> None:
        for line, cells in lines:
            if len(cells) != len(COLUMNS):
                self.say(line, f"has {len(cells)} cells, not {len(COLUMNS)}")
            else:
                self.row(line, {name: cell.strip() for name, cell in zip(self.header, cells, strict=True)})

    def row(self, line: int, row: Mapping[str, str]) -> None:
        before = len(self.found.wrong)
        organization = self.organizations.get(row["organization"])
        offering = self.offerings.get((row["zone"].lower(), row["instance_type"].lower()))
        if organization is None:
            self.say(line, f"organization: there is none called {row['organization'][:60]!r}")
        if offering is None:
            self.say(line, f"instance_type: there is no {row['instance_type'][:60]!r} in {row['zone'][:60]!r}")
        numbers = [self.number(line, name, row[name]) for name in NUMBERS]
        if len(self.found.wrong) == before and organization and offering:
            self.compare(line, organization, offering, (numbers[0], numbers[1], numbers[2]))

    def number(self, line: int, name: str, text: str) -> int:
        if not WHOLE.fullmatch(text) or int(text) > MOST:
            self.say(line, f"{name}: must be a whole number from 0 to {MOST}; it is {text[:40]!r}")
            return 0
        return int(text)

    def compare(self, line: int, organization: Organization, offering: Offering, after: Numbers) -> None:
        key = (organization.pk, offering.pk)
        if key in self.seen:
            self.say(line, f"{organization} has this quota of {offering} in line {self.seen[key]} already")
            return
        self.seen[key] = line
        before = self.quotas.get(key)
        if before == after:
            self.found.same += 1
        else:
            self.found.changes.append(Change(line, organization, offering, before, after))

    def say(self, line: int, text: str) -> None:
        self.found.wrong.append(Wrong(line, text))
