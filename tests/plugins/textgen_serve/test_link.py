"""Messages between the server and a worker."""

import asyncio
import itertools
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from textgen_serve.writing.link import AsyncLink, Link

#: What can be pickled, of any size.
MESSAGES = st.lists(st.binary(max_size=300) | st.integers() | st.lists(st.text(max_size=9), max_size=5), max_size=8)


def fail(*_):
    raise AssertionError


@given(messages=MESSAGES, cuts=st.lists(st.integers(0, 3_000)))
def test_messages_come_whole_and_in_order_whatever_the_pieces(messages, cuts):
    one, other = socket.socketpair()
    with one, other:
        for message in messages:
            Link(one).send(message)
        one.shutdown(socket.SHUT_WR)
        sent = b"".join(iter(lambda: other.recv(65_536), b""))
    taken: list[object] = []
    places = [0, *sorted(min(cut, len(sent)) for cut in cuts), len(sent)]

    async def receive():
        link = AsyncLink(taken.append)
        for begin, end in itertools.pairwise(places):
            link.data_received(sent[begin:end])

    asyncio.run(receive())
    assert taken == messages


def test_the_ends_talk_until_one_of_them_is_closed():
    one, other = socket.socketpair()
    link = Link(other)
    taken: list[object] = []

    def answer():
        while (message := link.receive()) != "end":
            link.send([message])
        other.close()

    async def talk():
        server = AsyncLink(taken.append)
        server.send("early")  # before the event loop has the socket
        await asyncio.get_running_loop().create_connection(lambda: server, sock=one)
        server.send("x" * 10**6)
        server.send("end")
        await asyncio.wait_for(server.lost, 10)
        server.send("nobody takes it")

    thread = threading.Thread(target=answer, daemon=True)
    thread.start()
    asyncio.run(talk())
    thread.join()
    assert taken == [["early"], ["x" * 10**6]]


@pytest.mark.parametrize("is_early", [True, False])
def test_who_has_closed_is_not_told_that_the_other_end_is(is_early):
    one, other = socket.socketpair()

    async def close():
        server = AsyncLink(fail)
        if is_early:
            server.close()
        await asyncio.get_running_loop().create_connection(lambda: server, sock=one)
        server.close()
        await asyncio.sleep(0.01)
        assert server.lost.cancelled()

    asyncio.run(close())
    assert Link(other).has_message
    with pytest.raises((EOFError, ConnectionError)):
        Link(other).receive()
    other.close()


class OtherTransport:
    """Like uvloop's, which is not a subclass of asyncio's."""

    def __init__(self):
        self.written = b""

    def write(self, data):
        self.written += data


def test_any_transport_will_do():
    transport = OtherTransport()
    taken: list[object] = []

    async def talk():
        link = AsyncLink(fail)
        link.send("early")
        link.connection_made(transport)  # type: ignore[arg-type]
        link.send("later")
        AsyncLink(taken.append).data_received(transport.written)

    asyncio.run(talk())
    assert taken == ["early", "later"]


def test_what_taking_a_message_raised_is_told():
    one, other = socket.socketpair()

    async def talk():
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        link = AsyncLink(lambda message: message / 0)
        await asyncio.get_running_loop().create_connection(lambda: link, sock=one)
        Link(other).send(1)
        await asyncio.wait_for(link.lost, 10)

    with other, pytest.raises(ZeroDivisionError):
        asyncio.run(talk())


def test_a_message_is_seen_before_it_is_taken():
    one, other = socket.socketpair()
    with one, other:
        assert not Link(other).has_message
        Link(one).send({"a": 1})
        assert Link(other).has_message
        assert Link(other).receive() == {"a": 1}
        assert not Link(other).has_message
