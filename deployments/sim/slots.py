"""Which replica takes the next request: the one with most free slots, ties by lowest key."""

from collections import defaultdict
from collections.abc import Mapping


class FreeSlots:
    """Replicas grouped by how many slots they have free.

    Each group is an integer with one bit a replica, lower keys in lower bits, so that taking and giving back
    a slot cost the same whatever the number of replicas.

    most: the largest number of free slots of one replica; 0 where no slot is free
    """

    __slots__ = ("_bits", "_free", "_groups", "_keys", "most")

    def __init__(self, free: Mapping[int, int]) -> None:
        """free: replica key -> free slots; negative where a replica runs more than it may by now."""
        self._free = dict(free)
        self._keys = sorted(free)
        self._bits = {key: 1 << place for place, key in enumerate(self._keys)}
        self._groups: defaultdict[int, int] = defaultdict(int)
        for key, count in free.items():
            self._groups[count] |= self._bits[key]
        self.most = max(0, max(free.values(), default=0))

    def take(self) -> int:
        """Take a slot of the next replica, and return its key. Raises LookupError where none is free."""
        most, groups = self.most, self._groups
        if not most:
            raise LookupError("No slot is free.")
        bit = groups[most] & -groups[most]
        key = self._keys[bit.bit_length() - 1]
        groups[most] ^= bit
        groups[most - 1] |= bit
        self._free[key] = most - 1
        # The replica just taken from is in the group below, so one step finds the new largest.
        if not groups[most]:
            self.most = most - 1
        return key

    def release(self, key: int) -> None:
        """Give back a slot. A replica that takes no requests keeps it to itself."""
        count = self._free.get(key)
        if count is None:
            return
        bit = self._bits[key]
        self._groups[count] ^= bit
        self._groups[count + 1] |= bit
        self._free[key] = count + 1
        if count >= self.most:
            self.most = count + 1
