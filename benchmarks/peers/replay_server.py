"""A server that answers every request with the same bytes, in the same parts, as fast as a loop in Python can.

What a client receives from it is what the client itself can take. Prints its port, and serves until it is killed.

    python -m benchmarks.peers.replay_server PARTS.json
"""

from __future__ import annotations

import base64
import json
import select
import socket
import sys
from pathlib import Path


def main() -> None:
    parts = [base64.b64decode(part) for part in json.loads(Path(sys.argv[1]).read_text(encoding="ascii"))]
    listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listening.getsockname()[1], flush=True)
    poll = select.epoll()
    poll.register(listening, select.EPOLLIN)
    opened: dict[int, socket.socket] = {}
    next_parts: dict[int, int] = {}
    while True:
        for number, _ in poll.poll(0 if next_parts else -1):
            if number == listening.fileno():
                connection = listening.accept()[0]
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                opened[connection.fileno()] = connection
                poll.register(connection, select.EPOLLIN)
            elif opened[number].recv(2**16):
                next_parts[number] = 0
            else:
                poll.unregister(number)
                opened.pop(number).close()
                next_parts.pop(number, None)
        for number in [*next_parts]:
            place = next_parts[number]
            opened[number].sendall(parts[place])
            if place + 1 < len(parts):
                next_parts[number] = place + 1
            else:
                del next_parts[number]


if __name__ == "__main__":
    main()
