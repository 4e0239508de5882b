"""Equal priorities share by largest remainder (R11).

The contest hands out growth replica by replica, for it does not know how much there will be, and goes by Webster's
divisors meanwhile; with one large and several small deployments that can be replicas off. Once it is known how many
a group got, its members being alike in all that decides where a replica may be, they are dealt out again: the whole
part of `total * lacks / all lacks` each, and one more for the largest remainders, equal ones in the order of creation
and id. No place changes hands between organizations or priorities by that, and what one of them got on an instance
that only it may use (R10, see keeping) is neither dealt out nor lacked any more.
"""

from dataclasses import replace

import numpy as np

from deployments.core.columns import Bools, Int64s
from deployments.core.queue import Phase
from deployments.core.requests import Asks


def dealt_again(asks: Asks, owners: Int64s, phases: Int64s, exclusive: Bools) -> Int64s:
    """The owner of each replica that starts; they come in order of grant, each with the phase it was granted in.

    `exclusive` are those on instances that nobody else may use.
    """
    grown = phases == Phase.GROWTH
    own = np.bincount(owners[grown & exclusive], minlength=len(asks.growth)).astype(np.int32)
    asks, growth = replace(asks, growth=asks.growth - own), grown & ~exclusive
    got = np.bincount(owners[growth], minlength=len(asks.growth))
    min_got = np.bincount(owners[phases == Phase.MIN], minlength=len(asks.growth))
    rows = _contested(asks, got, min_got)
    if not len(rows):
        return owners
    group = _groups(asks, rows)
    target = _largest_remainder(asks, rows, group, got[rows])
    changes = target - got[rows]
    if not changes.any():
        return owners
    return _passed_on(owners, growth, rows, group, changes)


def _contested(asks: Asks, got: Int64s, min_got: Int64s) -> Int64s:
    """Deployments of organizations that got some growth and not all; those that lack their min are out of it."""
    orgs = asks.deployments.org
    some = np.isin(orgs, orgs[got > 0])
    rows = np.flatnonzero(some & (asks.growth > 0) & (min_got >= asks.to_min))
    short = np.isin(orgs[rows], orgs[rows[got[rows] < asks.growth[rows]]])
    return rows[short]


def _groups(asks: Asks, rows: Int64s) -> Int64s:
    """Number of the group of each row; rows of one are alike but for creation and id."""
    table = asks.deployments
    columns = (table.org, table.priority, table.gpu_count, *table.class_order.T, table.zones, table.avoid)
    alike = [column[rows] for column in columns]
    order = np.lexsort(alike)
    differs = np.logical_or.reduce([column[order][1:] != column[order][:-1] for column in alike])
    group = np.empty(len(rows), np.int64)
    group[order] = np.cumsum(np.r_[False, differs])
    return group


def _largest_remainder(asks: Asks, rows: Int64s, group: Int64s, got: Int64s) -> Int64s:
    lacks = asks.growth[rows].astype(np.int64)
    total, all_lacks = (np.bincount(group, values).astype(np.int64) for values in (got, lacks))
    share = total[group] * lacks
    target: Int64s = share // all_lacks[group]
    left = total - np.bincount(group, target).astype(np.int64)
    table = asks.deployments
    order = np.lexsort((table.key[rows], table.created_at[rows], -(share % all_lacks[group]), group))
    firsts = np.searchsorted(group[order], group[order])
    place = np.arange(len(rows)) - firsts
    target[order] += place < left[group[order]]
    return target


def _passed_on(owners: Int64s, growth: Bools, rows: Int64s, group: Int64s, changes: Int64s) -> Int64s:
    """The last replicas of those that got too many go to those of the same group that got too few."""
    owners = owners.copy()
    for number in np.unique(group[changes != 0]).tolist():
        members = np.flatnonzero(group == number)
        places = [
            np.flatnonzero(growth & (owners == rows[member]))[changes[member] :]
            for member in members[changes[members] < 0]
        ]
        gains = members[changes[members] > 0]
        owners[np.sort(np.concatenate(places))] = np.repeat(rows[gains], changes[gains])
    return owners
