// What the broker's tables hold, in numbers.
import { Slice } from '../clock.ts'
import { gauge, PROTOCOL_LABEL } from '../numbers/declared.ts'
import type { Numbers, SetGauge } from '../numbers/numbers.ts'
import { groupLags } from './lags.ts'
import type { BrokerParts } from './parts.ts'

const HELD = gauge('trivet_held_requests', 'requests', {
  help: 'Pulls and receives that wait for a message at present.',
  labels: { kind: ['pull', 'receive'] },
})
const TOPICS = gauge('rocketmq_topic_number', 'topics', {
  help: 'Topics, those of the broker and of groups included.',
})
const GROUPS = gauge('rocketmq_consumer_group_number', 'groups', {
  help: 'Consumer groups.',
})
const CLIENTS = gauge('trivet_clients', 'clients', {
  help: 'Clients that are registered as producers or consumers.',
  labels: PROTOCOL_LABEL,
})
/** Of the groups that are furthest behind. */
const LAGS_MAX = 1000
const LAG = gauge('rocketmq_consumer_lag_messages', 'messages', {
  help: `Messages that a group has not settled, over all its topics; the ${LAGS_MAX} groups that are furthest behind.`,
  labels: { consumer_group: LAGS_MAX },
})
const IN_FLIGHT = gauge('rocketmq_consumer_inflight_messages', 'messages', {
  help: 'Messages of the same groups that consumers hold and have not settled.',
  labels: { consumer_group: LAGS_MAX },
})

export function showBroker(numbers: Numbers, parts: BrokerParts): void {
  const { topics, groups, clients, puller, receiver } = parts
  numbers.gauge(TOPICS, () => topics.list().length)
  numbers.gauge(GROUPS, () => groups.size)
  numbers.gauges([CLIENTS], (set) => {
    const counts = { remoting: 0, mqtt: 0, amqp: 0 }
    for (const { protocol } of clients.list()) counts[protocol]++
    for (const [protocol, count] of Object.entries(counts)) {
      set(CLIENTS, count, { protocol_type: protocol })
    }
  })
  numbers.gauges([HELD], (set) => {
    set(HELD, puller.heldCount, { kind: 'pull' })
    set(HELD, receiver.heldCount, { kind: 'receive' })
  })
  numbers.gauges([LAG, IN_FLIGHT], (set) => showLags(parts, set))
}

async function showLags(parts: BrokerParts, set: SetGauge): Promise<void> {
  const slice = new Slice(parts.clock)
  const found: { readonly name: string; readonly lag: number; readonly inFlight: number }[] = []
  for (const { name } of parts.groups.list()) {
    if (slice.isOver) await slice.rest()
    let [lag, inFlight] = [0, 0]
    for (const queue of await groupLags(parts, name)) {
      lag += queue.lag
      inFlight += queue.inFlight
    }
    found.push({ name, lag, inFlight })
  }
  found.sort((a, b) => b.lag - a.lag)
  for (const { name, lag, inFlight } of found.slice(0, LAGS_MAX)) {
    set(LAG, lag, { consumer_group: name })
    set(IN_FLIGHT, inFlight, { consumer_group: name })
  }
}
