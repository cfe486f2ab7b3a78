#!/usr/bin/env bash
# mqtt.js publishes one QoS 2 message to aedes. The persistence fails once, when aedes queues the message
# for offline sessions; mqtt.js reconnects and sends the message again, as MQTT demands.
#
# Expected: the message is published once. aedes stores a QoS 2 packet before it publishes it, "so that if
#   storage fails, the message hasn't been delivered yet"; after the failure it closes the connection.
# Seen: the message is acknowledged in full (PUBREC, PUBREL, PUBCOMP) and published never. The packet is in
#   the store, so the second PUBLISH counts as a duplicate of one that was published. The same happens when
#   the process dies between the two steps with a persistence that outlives it.
# Why it matters: exactly once becomes not at all, in silence, by one failed request to a Redis or a
#   MongoDB. With QoS 0 and 1 a lost message would be within what was promised by aedes (PUBACK comes
#   first); QoS 2 is what one chooses to be safe. A persistence can mend it: store the packet and publish
#   its message in one step.
#
# Needs node and npm.
set -euo pipefail
. "$(dirname "$0")/support.sh"

npm install --silent --no-audit --no-fund --prefix "$temp" aedes@1.2.0 aedes-persistence@11.0.0 mqtt@5.16.0 \
  >npm.log
cat >main.mjs <<'JS'
import { createServer } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { Aedes } from 'aedes'
import memory from 'aedes-persistence'
import mqtt from 'mqtt'

const persistence = memory()
const enqueue = persistence.outgoingEnqueueCombi.bind(persistence)
let failures = 0
persistence.outgoingEnqueueCombi = async (subscriptions, packet) => {
  if (packet.topic === 'a/b' && failures++ === 0) throw new Error('the disk is busy')
  return enqueue(subscriptions, packet)
}
const aedes = await Aedes.createBroker({ persistence })
const server = createServer(aedes.handle)
await new Promise((done) => server.listen(0, '127.0.0.1', done))
const url = `mqtt://127.0.0.1:${server.address().port}`

const subscriber = await mqtt.connectAsync(url)
const seen = []
subscriber.on('message', (_topic, payload) => seen.push(String(payload)))
await subscriber.subscribeAsync('a/#', { qos: 2 })
const publisher = await mqtt.connectAsync(url, { clientId: 'p', clean: false, reconnectPeriod: 100 })
publisher.on('error', () => {})
let connections = 1
publisher.on('connect', () => connections++)
await publisher.publishAsync('a/b', 'first', { qos: 2 })
console.log(`first: acknowledged after ${connections} connections`)
await publisher.publishAsync('a/b', 'second', { qos: 2 })
await pause(1000)
console.log(`delivered: ${seen.join(' ')}`)
process.exit(0)
JS
echo 'aedes 1.2.0, aedes-persistence 11.0.0, mqtt.js 5.16.0'
node main.mjs | tee seen
as_described <<'SEEN'
first: acknowledged after 2 connections
delivered: second
SEEN
