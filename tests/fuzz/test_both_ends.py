"""Facts about two connections that speak to each other, step by step in any order, and about one that is lied to.

edge Connection ══ bytes on the way ══► cloud Connection
                ◄══ bytes on the way ══
"""

from __future__ import annotations

from collections import deque

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from common import limits
from common.errors import LinkLostError, LocalProtocolError, RemoteProtocolError
from common.wire.connection import AFTER, MAY_SAY, Connection, Role, State
from common.wire.messages import WITH_PAYLOAD, Hello, Message, Welcome
from tests.common.wire.samples import SAMPLES, any_message, packed
from tests.fuzz.mutants import mutant
from tests.fuzz.oracle import hear, pieces

ROLES = st.sampled_from(list(Role))


def other(role: Role) -> Role:
    return Role.CLOUD if role is Role.EDGE else Role.EDGE


class BothEnds(RuleBasedStateMachine):
    """Both ends of a line that loses nothing until it is damaged or cut; what one says the other hears, in order."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.ends = {role: Connection(role, self.now) for role in Role}
        self.on_the_way: dict[Role, bytearray] = {role: bytearray() for role in Role}
        """Bytes that an end has said and the other has not read."""
        self.said: dict[Role, deque[tuple[Message, bytes]]] = {role: deque() for role in Role}
        self.damaged: set[Role] = set()
        """Ends whose words have been changed on their way."""

    @initialize(greet=st.sampled_from([True, True, True, False]))
    def greet(self, greet: bool) -> None:
        """Mostly both have greeted each other before anything else happens: there is more to say then."""
        for role, kind in ((Role.EDGE, Hello), (Role.CLOUD, Welcome)) if greet else ():
            head = b"".join(self.ends[role].send(SAMPLES[kind]))
            assert [event.message for event in self.ends[other(role)].feed(head, 0.0)] == [SAMPLES[kind]]

    @rule(role=ROLES, data=st.data())
    def say(self, role: Role, data: st.DataObject) -> None:
        """One end says what it may, with a payload where there may be one."""
        end = self.ends[role]
        kinds = sorted(MAY_SAY[role, end.state], key=lambda kind: kind.code)
        if not kinds:
            return
        message = data.draw(any_message(data.draw(st.sampled_from(kinds))))
        payload = data.draw(st.binary(max_size=300)) if type(message) in WITH_PAYLOAD else b""
        before = end.state
        for chunk in end.send(message, [payload] if payload else []):
            self.on_the_way[role] += chunk
        self.said[role].append((message, payload))
        assert end.state.name == AFTER.get(type(message), before).name

    @rule(role=ROLES, kind=st.sampled_from(list(SAMPLES)))
    def may_not_say(self, role: Role, kind: type[Message]) -> None:
        """What an end may not say now is its own error, and nothing of it leaves."""
        end = self.ends[role]
        if kind in MAY_SAY[role, end.state]:
            return
        before = end.state
        try:
            end.send(SAMPLES[kind])
        except LocalProtocolError:
            assert end.state is before
        else:
            raise AssertionError(f"{kind.__name__} was said by the {role.name} in {before.name}")

    @rule(speaker=ROLES, share=st.floats(0, 1))
    def deliver(self, speaker: Role, share: float) -> None:
        """Some of what is on the way arrives."""
        way = self.on_the_way[speaker]
        size = int(len(way) * share + 0.999)
        arriving = bytes(way[:size])
        del way[:size]
        hearer = self.ends[other(speaker)]
        if hearer.state is State.CLOSED:
            return
        try:
            for event in hearer.feed(arriving, self.now):
                self._heard(speaker, event.message, bytes(event.payload))
        except RemoteProtocolError:
            assert hearer.state.name == "CLOSED"
            # Both may end or greet at a time; a whole line's words are refused for nothing but their time.
            assert speaker in self.damaged or self._crossed(speaker)

    def _heard(self, speaker: Role, message: Message, payload: bytes) -> None:
        if speaker not in self.damaged:
            assert (message, payload) == self.said[speaker].popleft()

    def _crossed(self, speaker: Role) -> bool:
        """Whether the next word of `speaker` was said in a state that its hearer is not in (two Hellos, say)."""
        message, _ = self.said[speaker][0]
        hearer = self.ends[other(speaker)]
        return type(message) not in MAY_SAY[speaker, State.OPEN] or hearer.state is State.CLOSED

    @precondition(lambda self: any(self.on_the_way.values()))
    @rule(role=ROLES, at=st.integers(0, 2**16), octet=st.integers(1, 255))
    def damage(self, role: Role, at: int, octet: int) -> None:
        """A byte on the way becomes another."""
        way = self.on_the_way[role]
        if way:
            way[at % len(way)] ^= octet
            self.damaged.add(role)

    @rule(role=ROLES, number=st.integers(0, 10**6))
    def inject(self, role: Role, number: int) -> None:
        """Somebody adds a mutant to what an end says."""
        self.on_the_way[role] += mutant(number).stream
        self.damaged.add(role)

    @rule(seconds=st.floats(0, 3))
    def time_passes(self, seconds: float) -> None:
        """Each end is asked what is due: a ping, or the end of its patience."""
        self.now += seconds
        for role, end in self.ends.items():
            before = end.state
            silent_s = end.silent_for(self.now)
            try:
                ping = end.on_time(self.now)
            except LinkLostError:
                assert end.state is State.CLOSED
                overdue = before is State.GREETING and self.now >= limits.HANDSHAKE_TIMEOUT_S
                assert overdue or silent_s >= limits.DEAD_AFTER_S
                continue
            if ping is not None:
                assert role is Role.EDGE
                for chunk in end.send(ping):
                    self.on_the_way[role] += chunk
                self.said[role].append((ping, b""))

    @rule(role=ROLES)
    def hang_up(self, role: Role) -> None:
        """An end hears that the other will send no more: in good order, or in the middle of a message."""
        end = self.ends[role]
        try:
            end.eof()
        except LinkLostError:
            assert self.damaged or self.said[other(role)]
        assert end.state is State.CLOSED

    @invariant()
    def nothing_is_kept_after_the_end(self) -> None:
        """A connection that is closed says nothing and hears nothing."""
        for role, end in self.ends.items():
            if end.state is State.CLOSED:
                assert not MAY_SAY[role, end.state]
                assert list(end.feed(b"CLV1 and more", self.now)) == []

    @invariant()
    def there_is_always_room_to_read(self) -> None:
        """An open connection has a buffer of at least a byte, and none larger than it may be."""
        for end in self.ends.values():
            if end.state is not State.CLOSED:
                assert 0 < end.next_buffer().nbytes <= limits.MAX_PAYLOAD_BYTES


class Lied(RuleBasedStateMachine):
    """One end that hears mutants in pieces: it makes of them what it makes of the whole."""

    def __init__(self) -> None:
        super().__init__()
        self.stream = b""
        self.heard: list[tuple[Message, bytes]] = []
        self.error: str | None = None
        self.end: Connection | None = None
        self.began = State.GREETING

    @precondition(lambda self: self.end is None)
    @rule(role=ROLES, state=st.sampled_from([State.GREETING, State.OPEN, State.DRAINING]))
    def begin(self, role: Role, state: State) -> None:
        self.began = state
        self.end = Connection(role, 0.0)
        self.end.state = state
        self.end._hello_heard = state is not State.GREETING

    @precondition(lambda self: self.end is not None)
    @rule(number=st.integers(0, 10**6), cuts=st.lists(st.integers(0, 2**16), max_size=6))
    def lie(self, number: int, cuts: list[int]) -> None:
        """A mutant arrives, or one that goes on where the last one was cut off."""
        self._feed(mutant(number).stream, cuts)

    @precondition(lambda self: self.end is not None)
    @rule(kind=st.sampled_from(list(SAMPLES)), cuts=st.lists(st.integers(0, 2**16), max_size=2))
    def tell_the_truth(self, kind: type[Message], cuts: list[int]) -> None:
        """A valid message arrives, at its time or not."""
        self._feed(packed(SAMPLES[kind]), cuts)

    def _feed(self, stream: bytes, cuts: list[int]) -> None:
        assert self.end is not None
        self.stream += stream
        try:
            for piece in pieces(stream, cuts):
                for event in self.end.feed(piece, 0.0):
                    self.heard.append((event.message, bytes(event.payload)))
        except RemoteProtocolError as error:
            self.error = str(error)

    @invariant()
    def it_is_what_the_whole_is(self) -> None:
        if self.end is not None:
            whole = hear(self.end.role, self.began, [self.stream])
            assert (whole.heard, whole.error, whole.state) == (self.heard, self.error, self.end.state)


SETTINGS = settings(
    max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestBothEnds = BothEnds.TestCase
TestBothEnds.settings = SETTINGS
TestLied = Lied.TestCase
TestLied.settings = SETTINGS
