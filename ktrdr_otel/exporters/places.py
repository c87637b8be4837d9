"""Places in the export queue: which of them are settled, without a gap."""


class Places:
    """Every span that is taken in has a place, 1, 2, 3 and so on; they are settled in any order.

    `confirmed`: all places up to it are settled, none of them waits any more.
    """

    def __init__(self) -> None:
        self.confirmed = 0
        self._beyond: set[int] = set()

    def settle(self, place: int | None) -> None:
        """The span of that place has been delivered or dropped; records without a place count nothing."""
        if place is None:
            return
        if place != self.confirmed + 1:
            self._beyond.add(place)
            return
        self.confirmed = place
        while self._beyond and self.confirmed + 1 in self._beyond:
            self.confirmed += 1
            self._beyond.discard(self.confirmed)
