"""Notices of one kind, where there are too many to read one by one: a line with how many, whose, and where all of them
are listed. What is done to the line is done to each of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.urls import reverse

from console.dashboard.attention import Hidden, Notice

FEW = 5  # notices of a kind and level that are listed one by one
NAMED = 3


@dataclass(frozen=True, slots=True)
class Words:
    """What many notices of a kind are called, what is said of them, and the list that they are all in."""

    title: str
    text: str
    page: str
    query: str = ""

    @property
    def url(self) -> str:
        return reverse(self.page) + self.query


KINDS = {
    "loop": Words("{} loops are late", "what you see may be old", "overview"),
    "short": Words("{} deployments are short of capacity", "fewer replicas have GPUs than are wanted", "deployments",
                   "?state=short"),
    "signals": Words("Signals of {} deployments are lost", "no usable sample has come; their sizes are held as they are",
                     "deployments", "?state=lost"),
    "failing": Words("Replicas of {} deployments fail", "one after the other", "deployments", "?state=failing"),
    "degraded": Words("{} claims are degraded", "", "claims", "?degraded=1"),
    "unused": Words("{} claims are under-used", "smaller ones would pay for less that stays empty", "claims", "?unused=1"),
    "window": Words("Windows of {} claims cannot be had whole", "quota or pool is too small for what they promise", "claims"),
    "waiting": Words("{} claims wait for instances", "", "claims", "?waiting=1"),
    "quota": Words("{} quotas are nearly used, or exceeded", "", "quota"),
    "hold": Words("{} deployments are frozen or pinned", "", "deployments", "?held=1"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Group:
    """All notices of a kind and level."""

    kind: str
    level: str
    notices: Sequence[Notice]

    @property
    def title(self) -> str:
        return KINDS[self.kind].title.format(f"{len(self.notices):,}")

    @property
    def text(self) -> str:
        return KINDS[self.kind].text

    @property
    def url(self) -> str:
        return KINDS[self.kind].url

    @property
    def first(self) -> Sequence[Notice]:
        return self.notices[:NAMED]

    @property
    def more(self) -> int:
        return len(self.notices) - NAMED

    @property
    def key(self) -> str:
        """What is sent to deal with all of them."""
        return f"all {self.kind} {self.level}"


def grouped(notices: Iterable[Notice]) -> list[Notice | Group]:
    """In their order; a group stands where its first one would."""
    found: dict[tuple[str, str], list[Notice]] = {}
    for one in notices:
        found.setdefault((one.kind, one.level), []).append(one)
    made: list[Notice | Group] = []
    for (kind, level), some in found.items():
        if len(some) > FEW and kind in KINDS:
            made.append(Group(kind, level, some))
        else:
            made += some
    return made


def grouped_hidden(rows: Sequence[Hidden]) -> list[Hidden | Group]:
    by_key = {row.notice.key: row for row in rows}
    return [one if isinstance(one, Group) else by_key[one.key] for one in grouped([row.notice for row in rows])]


def meant(key: str, found: Iterable[Notice], listed: Iterable[Notice]) -> Notice | Group | None:
    """The notice of `found`, or all of a kind and level of `listed`, that a key names; None where there is none any more."""
    word, _, rest = key.partition(" ")
    if word != "all":
        return next((one for one in found if one.key == key), None)
    kind, _, level = rest.partition(" ")
    some = [one for one in listed if (one.kind, one.level) == (kind, level)]
    return Group(kind, level, some) if some and kind in KINDS else None
