#!/usr/bin/env bash
# mqtt.js publishes two QoS 1 messages to aedes, whose persistence takes 50 ms to queue the first of them
# and nothing for the second. A subscriber listens to both topics.
#
# Expected: the first message comes late, after the second: aedes waits for the persistence before it hands
#   a message to its subscribers, and a persistence that asks a server or a disk takes different times.
# Seen: both messages are acknowledged, and the subscriber is given the second alone. aedes numbers each
#   message as it comes and takes one with a number below the last delivered for a duplicate, so a message
#   that was overtaken in the persistence is dropped. It makes no difference that the topics differ, nor
#   that the subscriber asked for QoS 1. With the memory persistence nothing overtakes, so tests see nothing.
# Why it matters: every persistence for more than one process answers over a network. PUBACK has been sent
#   by then (aedes sends it before it asks the persistence), so the publisher does not send again.
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
let isSlow = false
persistence.outgoingEnqueueCombi = async (subscriptions, packet) => {
  if (isSlow && packet.topic === 'a/first') await pause(50)
  return enqueue(subscriptions, packet)
}
const aedes = await Aedes.createBroker({ persistence })
const server = createServer(aedes.handle)
await new Promise((done) => server.listen(0, '127.0.0.1', done))
const url = `mqtt://127.0.0.1:${server.address().port}`

for (isSlow of [false, true]) {
  const subscriber = await mqtt.connectAsync(url)
  const seen = []
  subscriber.on('message', (topic) => seen.push(topic))
  await subscriber.subscribeAsync('a/#', { qos: 1 })
  const publisher = await mqtt.connectAsync(url)
  const topics = ['a/first', 'a/second']
  await Promise.all(topics.map((topic) => publisher.publishAsync(topic, 'text', { qos: 1 })))
  await pause(1000)
  const how = isSlow ? 'slow for the first' : 'quick for both'
  console.log(`persistence ${how}: acknowledged a/first a/second, delivered ${seen.join(' ')}`)
  await Promise.all([subscriber.endAsync(), publisher.endAsync()])
}
process.exit(0)
JS
echo 'aedes 1.2.0, aedes-persistence 11.0.0, mqtt.js 5.16.0'
node main.mjs | tee seen
as_described <<'SEEN'
persistence quick for both: acknowledged a/first a/second, delivered a/first a/second
persistence slow for the first: acknowledged a/first a/second, delivered a/second
SEEN
