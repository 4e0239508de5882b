"""The queue once more, slow and obvious: one event at a time, every list searched from the front."""

from dataclasses import dataclass, field

from deployments.sim.queue import QueueState, Replica


@dataclass
class Request:
    id: int
    arrival: float
    service: float
    replica: int | None = None
    end: float = 0.0
    wait: float | None = None


@dataclass
class SlowQueue:
    now: float
    present: list[Request] = field(default_factory=list)
    finished: list[Request] = field(default_factory=list)
    everyone: list[Request] = field(default_factory=list)

    def advance(self, requests: list[tuple[float, float]], replicas: list[Replica], until: float) -> None:
        self.give_back_killed(replicas)
        coming = list(requests)
        edges = {replica.ready_from_s for replica in replicas}
        edges |= {r.accepts_until_s for r in replicas if r.accepts_until_s is not None}
        changes = sorted(edge for edge in edges if self.now < edge < until)
        while self.now < until:
            self.start_what_can(replicas)
            events = [(change, 0, 0) for change in changes[:1]]
            events += [(request.end, 1, request.id) for request in self.running()]
            events += [(arrival, 2, 0) for arrival, _ in coming[:1]]
            at, kind, id_ = min(events, default=(until, 0, 0))
            if at >= until:
                break
            self.now = at
            if kind == 0:
                changes.pop(0)
            elif kind == 1:
                self.finish(id_)
            else:
                self.arrive(*coming.pop(0))
        self.now = until

    def give_back_killed(self, replicas: list[Replica]) -> None:
        for request in self.running():
            if request.replica not in [replica.key for replica in replicas]:
                request.replica = None

    def start_what_can(self, replicas: list[Replica]) -> None:
        for request in self.waiting():
            free = {r.key: r.slots - self.running_on(r.key) for r in replicas if r.accepts_at(self.now)}
            if not free or max(free.values()) <= 0:
                return
            request.replica = min(key for key in free if free[key] == max(free.values()))
            request.end = self.now + request.service
            if request.wait is None:
                request.wait = self.now - request.arrival

    def finish(self, id_: int) -> None:
        (request,) = [request for request in self.present if request.id == id_]
        self.present.remove(request)
        self.finished.append(request)

    def arrive(self, arrival: float, service: float) -> None:
        request = Request(len(self.everyone), arrival, service)
        self.everyone.append(request)
        self.present.append(request)

    def waiting(self) -> list[Request]:
        return sorted((r for r in self.present if r.replica is None), key=lambda request: request.id)

    def running(self) -> list[Request]:
        return [request for request in self.present if request.replica is not None]

    def running_on(self, key: int) -> int:
        return len([request for request in self.running() if request.replica == key])

    def waits(self) -> list[float]:
        return [request.wait for request in self.everyone if request.wait is not None]

    def agrees_with(self, state: QueueState) -> bool:
        """Whether the fast queue is in the same state, to the last bit."""
        counters = state.counters
        running = sorted((r.end, r.id, r.replica, r.arrival, r.service) for r in self.running())
        return (
            self.now == state.until_s
            and [(r.id, r.arrival, r.service) for r in self.waiting()] == list(state.waiting)
            and running == list(state.running)
            and counters.arrived == len(self.everyone)
            and counters.started == len(self.waits())
            and counters.finished == len(self.finished)
            and counters.service_seconds == sum(request.service for request in self.finished)
            and counters.waited_le_1s == len([wait for wait in self.waits() if wait <= 1])
            and counters.waited_le_5s == len([wait for wait in self.waits() if wait <= 5])
        )
