"""Apache Qpid Proton as a client, driven by its command line and heard through lines of JSON.

    proton_peer.py send URL ADDRESS          sends one message of every type, each settled by the broker
    proton_peer.py receive URL ADDRESS COUNT takes COUNT messages as raw bytes and accepts them

Bytes are printed as they cross the wire, so that the test compares them and not what a decoder makes of them.
"""
import base64
import json
import sys
import uuid

from proton import (UNDESCRIBED, Array, Data, Delivery, Described, Handler, Message, byte, char, decimal32,
                    decimal64, decimal128, float32, int32, short, symbol, timestamp, ubyte, uint, ulong, ushort)
from proton.reactor import Container

BODIES = [
    ("null", None),
    ("true", True),
    ("false", False),
    ("ubyte", ubyte(0xfe)),
    ("ushort", ushort(0xfedc)),
    ("uint", uint(0xfedcba98)),
    ("ulong", ulong(0xfedcba9876543210)),
    ("byte", byte(-7)),
    ("short", short(-777)),
    ("int", int32(-77777)),
    ("long", -(2 ** 62)),
    ("small long", 1),
    ("float", float32(1.5)),
    ("double", 3.141592653589793),
    ("decimal32", decimal32(0x22500001)),
    ("decimal64", decimal64(0x2238000000000001)),
    ("decimal128", decimal128(bytes(range(16)))),
    ("char", char("\U0001F600")),
    ("timestamp", timestamp(1700000000123)),
    ("uuid", uuid.UUID("00112233-4455-6677-8899-aabbccddeeff")),
    ("binary", b"\x00\x01\xff" * 200),
    ("string", "grüße 中文 😀"),
    ("empty string", ""),
    ("long string", "x" * 70000),
    ("symbol", symbol("a.symbol")),
    ("list", [1, "two", None, [3.0, [True]]]),
    ("map", {"a": 1, symbol("b"): ["c"], ulong(3): {"deep": b"bytes"}}),
    ("array", Array(UNDESCRIBED, Data.INT, 1, -2, 3)),
    ("described", Described(ulong(0x1234), "value")),
]


def messages():
    for name, body in BODIES:
        yield name, Message(body=body)
    rich = Message(body="rich", id=uuid.UUID("00112233-4455-6677-8899-aabbccddeeff"), subject="TagA", durable=True,
                   priority=7, ttl=60.0, correlation_id=ulong(17), content_type=symbol("text/plain"),
                   group_id="order-17", group_sequence=3, reply_to="answers", user_id=b"guest")
    rich.properties = {"int": int32(1), "long": 2, "double": 2.5, "yes": True, "text": "grüße", "KEYS": "k1 k2"}
    rich.annotations = {symbol("x-opt-mine"): "kept"}
    yield "everything", rich
    data = Message(body=b"\x00\x01\x02", inferred=True)
    yield "data section", data
    sequence = Message(body=[1, "two"], inferred=True)
    yield "sequence section", sequence


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


def text(data):
    return base64.b64encode(data).decode("ascii")


class Peer(Handler):
    """Only the bare events: no helper between the test and the wire."""

    def __init__(self, url, address):
        super().__init__()
        self.url = url
        self.address = address

    def on_reactor_init(self, event):
        connection = event.reactor.connect(self.url, reconnect=False)
        self.begin(event.reactor, connection)

    def on_transport_error(self, event):
        say("failed", error=str(event.transport.condition))
        sys.exit(1)

    def on_link_remote_close(self, event):
        condition = event.link.remote_condition
        if condition is not None:
            say("failed", error=str(condition))
            sys.exit(1)


class Sender(Peer):
    def begin(self, container, connection):
        self.link = container.create_sender(connection, self.address, handler=self)
        self.waiting = list(messages())
        self.count = len(self.waiting)
        self.names = {}

    def on_link_flow(self, event):
        link = event.link
        while link.is_sender and link.credit > 0 and self.waiting:
            name, message = self.waiting.pop(0)
            encoded = message.encode()
            tag = str(len(self.names))
            self.names[tag] = name
            link.delivery(tag)
            link.stream(encoded)
            link.advance()
            say("sent", name=name, bytes=text(encoded))

    def on_delivery(self, event):
        delivery = event.delivery
        if not delivery.updated or not event.link.is_sender:
            return
        say("settled", name=self.names[delivery.tag], state=delivery.remote_state.name)
        delivery.settle()
        self.count -= 1
        if self.count == 0:
            event.connection.close()


class Receiver(Peer):
    def __init__(self, url, address, count):
        super().__init__(url, address)
        self.count = count

    def begin(self, container, connection):
        self.link = container.create_receiver(connection, self.address, handler=self)
        self.link.flow(self.count)

    def on_link_remote_open(self, event):
        say("ready")

    def on_delivery(self, event):
        delivery = event.delivery
        if not event.link.is_receiver or not delivery.readable or delivery.partial:
            return
        raw = event.link.recv(delivery.pending)
        message = Message()
        message.decode(raw)
        say("got", bytes=text(raw), type=type(message.body).__name__, subject=message.subject,
            count=message.delivery_count, priority=message.priority, ttl=message.ttl,
            annotations={str(key): str(value) for key, value in (message.annotations or {}).items()})
        delivery.update(Delivery.ACCEPTED)
        delivery.settle()
        self.count -= 1
        if self.count == 0:
            event.connection.close()


def main():
    mode, url, address = sys.argv[1:4]
    peer = Sender(url, address) if mode == "send" else Receiver(url, address, int(sys.argv[4]))
    Container(peer).run()
    say("done")


main()
