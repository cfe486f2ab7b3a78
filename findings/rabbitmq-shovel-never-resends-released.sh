#!/usr/bin/env bash
# A shovel of RabbitMQ 3.10.8 with acknowledgement mode on-confirm moves five messages from a queue to an AMQP 1.0
# server by rhea (Node), which answers one with "rejected" three times, one with "released" once and one
# with "modified" (delivery-failed) once, and accepts each of them when it comes again.
#
# Expected: what is released or modified is sent again, for these outcomes say that the message was not
#   processed and may be tried again (AMQP 1.0, part 3, 3.4.4 and 3.4.5). What is rejected is not, for that says
#   that the message is invalid (3.4.2): it leaves the queue, for its dead letter exchange if it has one.
# Seen: the reverse. A rejected message goes back into the queue and is sent again at once, as often as it is
#   rejected. A released or modified one is not sent again: it stays in the queue unacknowledged, where no
#   other consumer gets it either, until the shovel loses its connection. The shovel goes on with other
#   messages, and its only sign is a warning in the log, "destination disposition tag not found".
# Why it matters: a broker releases a message that it cannot take just now, and gets it again from most clients a
#   moment later; from the shovel it comes with the next restart, behind all that was sent since. Each
#   takes one of the places of the shovel's prefetch-count until then. A broker before which shovels stand had better
#   withhold credit, or reject: what it rejects for a passing reason is the one thing that they try again.
#
# Needs Debian 12 with apt's lists (apt-get update) and Erlang (the erlang packages that its rabbitmq-server
# depends on), and node and npm.
set -euo pipefail
. "$(dirname "$0")/support.sh"

npm install --silent --no-audit --no-fund --prefix "$temp" rhea@3.0.5 amqplib@0.10.9 >npm.log
rabbitmq_unpack

# Prints its port to standard error, and each message as it comes.
cat >server.cjs <<'JS'
const { setTimeout: pause } = require('node:timers/promises')
const rhea = require('rhea')
const refusals = { rejected: 3, released: 1, modified: 1 }
let answers = Promise.resolve()
const container = rhea.create_container()
container.on('disconnected', () => {})
container.on('receiver_open', ({ receiver }) => receiver.set_target(receiver.remote.attach.target))
container.on('message', ({ message, delivery }) => {
  const name = String(message.body.content ?? message.body)
  const isRefused = (refusals[name] ?? 0) > 0
  if (isRefused) refusals[name]--
  console.log(`${name}: ${isRefused ? name : 'accepted'}`)
  // One at a time, for rhea merges two outcomes that are settled at once.
  answers = answers.then(() => pause(50)).then(() => {
    if (!isRefused) delivery.accept()
    else if (name === 'rejected') delivery.reject({ condition: 'amqp:decode-error', description: 'no' })
    else if (name === 'released') delivery.release()
    else delivery.modified({ delivery_failed: true })
  })
})
const listener = container.listen({
  host: '127.0.0.1',
  port: 0,
  receiver_options: { autoaccept: false },
})
listener.on('listening', () => console.error(listener.address().port))
JS
# Sends the messages of these names, says how many are ready then, or with a number takes so many out again.
cat >client.cjs <<'JS'
const { setTimeout: pause } = require('node:timers/promises')
const amqplib = require('amqplib')
async function main() {
  const [, , url, number, ...names] = process.argv
  const connection = await amqplib.connect(url)
  const channel = await connection.createConfirmChannel()
  await channel.assertQueue('from', { durable: true })
  for (const name of names) channel.sendToQueue('from', Buffer.from(name), { persistent: true })
  await channel.waitForConfirms()
  if (number === '0') console.log((await channel.checkQueue('from')).messageCount)
  const taken = []
  while (taken.length < Number(number)) {
    const message = await channel.get('from', { noAck: true })
    if (message) taken.push(message.content)
    else await pause(100)
  }
  console.log(taken.sort().join(', '))
  await connection.close()
}
main()
JS

node server.cjs >came 2>port &
server=$!
for _ in $(seq 100); do [ -s port ] && break; sleep 0.1; done

rabbitmq_port=$(free_port)
uri="amqp://guest:guest@127.0.0.1:$rabbitmq_port"
cat >advanced.config <<CONFIG
[{rabbitmq_shovel, [{shovels, [{finding, [
  {source, [{protocol, amqp091}, {uris, ["$uri"]}, {queue, <<"from">>},
            {declarations, [{'queue.declare', [{queue, <<"from">>}, durable]}]}]},
  {destination, [{protocol, amqp10}, {uris, ["amqp://127.0.0.1:$(cat port)?sasl=anon"]},
                 {target_address, <<"to">>}]},
  {ack_mode, on_confirm}, {reconnect_delay, 1}]}]}]}].
CONFIG
rabbitmq_start "$rabbitmq_port" rabbitmq_shovel

# Until the file came has that many lines, for 60 seconds at most.
came() { for _ in $(seq 600); do [ "$(wc -l <came)" -ge "$1" ] && return; sleep 0.1; done; cat came; exit 1; }

{
  dpkg-deb --show --showformat='${Package} ${Version}\n' rabbitmq-server_*.deb
  for package in rhea amqplib; do node -p "'$package ' + require('$package/package.json').version"; done
  node client.cjs "$uri" 0 first rejected released modified last >sent
  came 8
  sleep 10
  # In any order: what is rejected comes again between the others.
  LC_ALL=C sort came | sed 's/^/in 10 seconds: /'
  echo "ready in the queue: $(node client.cjs "$uri" 0)"
  kill "$server"
  echo "and when the shovel has lost its connection: $(timeout 60 node client.cjs "$uri" 2)"
} | tee seen

as_described <<'TEXT'
rabbitmq-server 3.10.8-1.1+deb12u1
rhea 3.0.5
amqplib 0.10.9
in 10 seconds: first: accepted
in 10 seconds: last: accepted
in 10 seconds: modified: modified
in 10 seconds: rejected: accepted
in 10 seconds: rejected: rejected
in 10 seconds: rejected: rejected
in 10 seconds: rejected: rejected
in 10 seconds: released: released
ready in the queue: 0
and when the shovel has lost its connection: modified, released
TEXT
