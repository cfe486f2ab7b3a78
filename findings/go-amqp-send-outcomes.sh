#!/usr/bin/env bash
# go-amqp (Go) and qpid-jms (Java) send the same four messages to one rhea (Node) server, which settles
# them as accepted, rejected, released and modified.
#
# Expected: a send that waits for the outcome returns without an error only when the peer accepted the
#   message, because that is what qpid-jms does and because AMQP 1.0 (part 3, 3.4) says of "released" that
#   the message was not processed, and of "modified" with undeliverable-here that it is not to be sent to
#   this peer again.
# Seen: `Sender.Send` of go-amqp returns nil for released and for modified. Only "rejected" is an error.
#   `Sender.SendWithReceipt` tells the four apart.
# Why it matters: brokers release a message when they cannot take it now (no room, a shutdown, a queue that
#   moved). A Go producer that looks at nothing but the error loses each of those messages in silence, and
#   the same broker behaves well with the Java client, so a test with that client does not show it.
#
# Needs node and npm, go 1.25 or later, and a JDK 11 or later with Maven.
set -euo pipefail
. "$(dirname "$0")/support.sh"

npm install --silent --no-audit --no-fund --prefix "$temp" rhea@3.0.5 >npm.log
cat >server.cjs <<'JS'
const rhea = require('rhea')
const container = rhea.create_container()
container.on('receiver_open', ({ receiver }) => receiver.set_target(receiver.remote.attach.target))
container.on('message', ({ receiver, delivery }) => {
  const outcome = receiver.remote.attach.target.address
  if (outcome === 'accepted') delivery.accept()
  if (outcome === 'rejected') delivery.reject({ condition: 'amqp:not-allowed', description: 'no' })
  if (outcome === 'released') delivery.release()
  if (outcome === 'modified') delivery.modified({ delivery_failed: true, undeliverable_here: true })
})
container.on('disconnected', () => {})
const listener = container.listen({
  host: '127.0.0.1',
  port: 0,
  receiver_options: { autoaccept: false },
})
listener.on('listening', () => console.log(listener.address().port))
JS

mkdir go-client
cat >go-client/main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/Azure/go-amqp"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	options := &amqp.ConnOptions{SASLType: amqp.SASLTypeAnonymous()}
	connection, err := amqp.Dial(ctx, "amqp://127.0.0.1:"+os.Args[1], options)
	must(err)
	defer connection.Close()
	session, err := connection.NewSession(ctx, nil)
	must(err)
	for _, outcome := range []string{"accepted", "rejected", "released", "modified"} {
		sender, err := session.NewSender(ctx, outcome, nil)
		must(err)
		err = sender.Send(ctx, amqp.NewMessage([]byte("hello")), nil)
		receipt, receiptErr := sender.SendWithReceipt(ctx, amqp.NewMessage([]byte("hello")), nil)
		must(receiptErr)
		state, receiptErr := receipt.Wait(ctx)
		must(receiptErr)
		fmt.Printf("go-amqp %s: Send returned an error: %t; the receipt says %T\n", outcome, err != nil, state)
	}
}
GO
(
  cd go-client
  export GOWORK=off GOFLAGS=-mod=mod
  go mod init finding
  go get github.com/Azure/go-amqp@v1.7.0
  go build -o send .
) >go.log 2>&1 || { cat go.log; exit 1; }

cat >pom.xml <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>finding</groupId>
  <artifactId>finding</artifactId>
  <version>1</version>
  <dependencies>
    <dependency>
      <groupId>org.apache.qpid</groupId>
      <artifactId>qpid-jms-client</artifactId>
      <version>1.12.0</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId>
      <artifactId>slf4j-nop</artifactId>
      <version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
XML
mvn -q -B org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies \
  -DincludeScope=runtime -DoutputDirectory=lib >mvn.log 2>&1 || { cat mvn.log; exit 1; }
cat >Send.java <<'JAVA'
import javax.jms.*;
import org.apache.qpid.jms.JmsConnectionFactory;

public class Send {
  public static void main(String[] args) throws Exception {
    try (Connection connection = new JmsConnectionFactory("amqp://127.0.0.1:" + args[0]).createConnection()) {
      Session session = connection.createSession(false, Session.AUTO_ACKNOWLEDGE);
      for (String outcome : new String[] {"accepted", "rejected", "released", "modified"}) {
        MessageProducer producer = session.createProducer(session.createQueue(outcome));
        boolean threw = false;
        try {
          producer.send(session.createTextMessage("hello"));
        } catch (JMSException refused) {
          threw = true;
        }
        System.out.println("qpid-jms " + outcome + ": send threw an exception: " + threw);
      }
    }
  }
}
JAVA

node server.cjs >port 2>server.log &
for _ in $(seq 100); do [ -s port ] && break; sleep 0.1; done

{
  node -p "'rhea ' + require('rhea/package.json').version"
  (cd go-client && GOWORK=off go list -m github.com/Azure/go-amqp)
  basename lib/qpid-jms-client-*.jar .jar
  timeout 30 go-client/send "$(cat port)"
  timeout 60 java -cp 'lib/*' Send.java "$(cat port)"
} | tee seen

as_described <<'TEXT'
rhea 3.0.5
github.com/Azure/go-amqp v1.7.0
qpid-jms-client-1.12.0
go-amqp accepted: Send returned an error: false; the receipt says *encoding.StateAccepted
go-amqp rejected: Send returned an error: true; the receipt says *encoding.StateRejected
go-amqp released: Send returned an error: false; the receipt says *encoding.StateReleased
go-amqp modified: Send returned an error: false; the receipt says *encoding.StateModified
qpid-jms accepted: send threw an exception: false
qpid-jms rejected: send threw an exception: true
qpid-jms released: send threw an exception: true
qpid-jms modified: send threw an exception: true
TEXT
