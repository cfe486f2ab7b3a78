"""Apache Qpid Proton with local transactions, heard through lines of JSON: `proton_transactions.py URL ADDRESS`.

One transaction after the other: two messages that are committed, one that is not, their acceptance taken back, and
committed; then a message without a transaction. What the broker says and delivers is printed as it comes.
"""
import json
import sys

from proton import Message
from proton.handlers import TransactionalClientHandler
from proton.reactor import Container


def say(event, **fields):
    print(json.dumps({"event": event, **fields}), flush=True)


class Peer(TransactionalClientHandler):
    def __init__(self, url, address):
        # Credit by hand.
        super().__init__(prefetch=0)
        self.url = url
        self.address = address
        self.steps = iter([self.send_two, self.send_one, self.accept_two, self.accept_two, self.send_last])
        self.endings = iter(["commit", "abort", "abort", "commit"])
        self.transaction = None
        self.has_begun = False

    def on_start(self, event):
        self.container = event.container
        self.connection = event.container.connect(self.url, reconnect=False)
        self.sender = event.container.create_sender(self.connection, self.address)
        self.receiver = event.container.create_receiver(self.connection, self.address)

    def on_sendable(self, event):
        # What is sent without credit would leave after the end of its transaction.
        if not self.has_begun:
            self.has_begun = True
            self.declare()

    def declare(self):
        self.container.declare_transaction(self.connection, handler=self)

    def on_transaction_declared(self, event):
        self.transaction = event.transaction
        next(self.steps)()

    def send_two(self):
        for body in ["first", "second"]:
            self.transaction.send(self.sender, Message(body=body))
        self.discharge()

    def send_one(self):
        self.transaction.send(self.sender, Message(body="not to be seen"))
        self.discharge()

    def accept_two(self):
        self.missing = 2
        self.receiver.flow(2)

    def send_last(self):
        # Outside of the transaction that is open.
        self.transaction = None
        self.sender.send(Message(body="last"))
        self.receiver.flow(1)

    def on_message(self, event):
        say("got", text=event.message.body)
        if self.transaction is None:
            self.accept(event.delivery)
            self.connection.close()
            return
        self.transaction.accept(event.delivery)
        self.missing -= 1
        if self.missing == 0:
            self.discharge()

    def discharge(self):
        if next(self.endings) == "commit":
            self.transaction.commit()
        else:
            self.transaction.abort()

    def on_transaction_committed(self, event):
        say("printed", text="committed")
        self.declare()

    def on_transaction_aborted(self, event):
        say("printed", text="aborted")
        self.declare()

    def on_transaction_declare_failed(self, event):
        self.fail("the transaction was not declared")

    def on_transaction_commit_failed(self, event):
        self.fail("the transaction was not committed")

    def on_transport_error(self, event):
        self.fail(str(event.transport.condition))

    def on_link_error(self, event):
        self.fail(str(event.link.remote_condition))

    def fail(self, why):
        say("failed", error=why)
        sys.exit(1)


Container(Peer(*sys.argv[1:3])).run()
say("done")
