#!/usr/bin/env bash
# One message is published to aedes, retained, at QoS 2. Clients with and without a clean session subscribe
# to its topic at QoS 1 and 2.
#
# Expected: each of them is given the retained message at the lower of the two QoS.
# Seen: a client without a clean session that subscribes at QoS 2 is disconnected as soon as it answers the
#   message with PUBREC: aedes looks for the packet in the session's outgoing queue, where retained messages
#   never are, and takes the persistence's "no such packet" for an error of the client. The client connects
#   again, subscribes again, and so on for ever. At QoS 1, or with a clean session, all is well; so it is
#   with a live message at QoS 2.
# Why it matters: one retained message of QoS 2 locks every durable QoS 2 subscriber
#   of its topic out, in a loop, and what they log is a closed connection. Publishing the value at QoS 1, or
#   clearing it, ends the loop.
#
# Needs node and npm.
set -euo pipefail
. "$(dirname "$0")/support.sh"

npm install --silent --no-audit --no-fund --prefix "$temp" aedes@1.2.0 mqtt@5.16.0 >npm.log
cat >main.mjs <<'JS'
import { createServer } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { Aedes } from 'aedes'
import mqtt from 'mqtt'

const aedes = await Aedes.createBroker()
const errors = []
aedes.on('clientError', (_client, error) => errors.push(error.message))
const server = createServer(aedes.handle)
await new Promise((done) => server.listen(0, '127.0.0.1', done))
const url = `mqtt://127.0.0.1:${server.address().port}`

const publisher = await mqtt.connectAsync(url)
await publisher.publishAsync('state/a', 'on', { qos: 2, retain: true })
for (const clean of [true, false]) {
  for (const qos of [1, 2]) {
    const clientId = `c-${clean}-${qos}`
    const client = await mqtt.connectAsync(url, { clientId, clean, reconnectPeriod: 0 })
    let given = 0
    let isClosed = false
    client.on('error', () => {})
    client.on('message', () => given++)
    client.on('close', () => {
      isClosed = true
    })
    await client.subscribeAsync('state/a', { qos })
    await pause(500)
    const session = clean ? 'clean session' : 'kept session'
    const end = isClosed ? `disconnected (${errors.join()})` : 'connected'
    console.log(`${session}, QoS ${qos}: ${given} message, ${end}`)
    if (!isClosed) await client.endAsync()
  }
}
process.exit(0)
JS
echo 'aedes 1.2.0, mqtt.js 5.16.0'
node main.mjs | tee seen
as_described <<'SEEN'
clean session, QoS 1: 1 message, connected
clean session, QoS 2: 1 message, connected
kept session, QoS 1: 1 message, connected
kept session, QoS 2: 0 message, disconnected (no such packet)
SEEN
