// What the broker's tables hold, in numbers.
import { Slice } from '../clock.ts'
import { isDeadLetterTopic, isRetryTopic, isSystemTopic } from '../model/names.ts'
import { BOOLEANS, counter, gauge, PROTOCOL_LABEL } from '../numbers/declared.ts'
import type { Numbers, SetGauge } from '../numbers/numbers.ts'
import { type TopicLag, topicLags } from './lags.ts'
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

/** Of one number in one reading. */
const SERIES_MAX = 1000
const LAG_LABELS = {
  consumer_group: SERIES_MAX,
  topic: SERIES_MAX,
  is_retry: BOOLEANS,
  is_system: BOOLEANS,
}
const LAG = gauge('rocketmq_consumer_lag_messages', 'messages', {
  help: `Messages of a topic that a group has not settled; the ${SERIES_MAX} that are furthest behind.`,
  labels: LAG_LABELS,
  seriesMax: SERIES_MAX,
})
const IN_FLIGHT = gauge('rocketmq_consumer_inflight_messages', 'messages', {
  help: 'Messages of the same topics and groups that consumers hold and have not settled.',
  labels: LAG_LABELS,
  seriesMax: SERIES_MAX,
})
const MESSAGES_IN = counter('rocketmq_messages_in_total', 'messages', {
  help: `Messages that a topic was ever given, but for retries and dead letters; the ${SERIES_MAX} topics with the most.`,
  labels: { topic: SERIES_MAX, is_system: BOOLEANS },
  seriesMax: SERIES_MAX,
})
const MESSAGES_OUT = counter('rocketmq_messages_out_total', 'messages', {
  help: `Messages of a topic that a group was given; the ${SERIES_MAX} with the most.`,
  labels: { topic: SERIES_MAX, consumer_group: SERIES_MAX, is_system: BOOLEANS },
  seriesMax: SERIES_MAX,
})

export function showBroker(numbers: Numbers, parts: BrokerParts): readonly Disposable[] {
  const { topics, groups, clients, puller, receiver } = parts
  return [
    numbers.gauge(TOPICS, () => topics.list().length),
    numbers.gauge(GROUPS, () => groups.size),
    numbers.gauges([CLIENTS], (set) => {
      const counts = { remoting: 0, mqtt: 0, amqp: 0 }
      for (const { protocol } of clients.list()) counts[protocol]++
      for (const [protocol, count] of Object.entries(counts)) {
        set(CLIENTS, count, { protocol_type: protocol })
      }
    }),
    numbers.gauges([HELD], (set) => {
      set(HELD, puller.heldCount, { kind: 'pull' })
      set(HELD, receiver.heldCount, { kind: 'receive' })
    }),
    numbers.gauges([LAG, IN_FLIGHT], (set) => showLags(parts, set)),
    numbers.details([MESSAGES_IN], (set) => showTopics(parts, set)),
    numbers.details([MESSAGES_OUT], (set) => showGiven(parts, set)),
  ]
}

async function showLags(parts: BrokerParts, set: SetGauge): Promise<void> {
  const slice = new Slice(parts.clock)
  const found: TopicLag[] = []
  for (const { name } of parts.groups.list()) {
    if (slice.isOver) await slice.rest()
    found.push(...(await topicLags(parts, name, slice)))
  }
  found.sort((a, b) => b.lag - a.lag)
  for (const { group, topic, lag, inFlight } of found) {
    const labels = {
      consumer_group: group,
      topic,
      is_retry: String(isRetryTopic(topic)),
      is_system: String(isSystemTopic(topic)),
    }
    set(LAG, lag, labels)
    set(IN_FLIGHT, inFlight, labels)
  }
}

async function showTopics({ clock, topics, store }: BrokerParts, set: SetGauge): Promise<void> {
  const slice = new Slice(clock)
  const found: { readonly topic: string; readonly messages: number }[] = []
  for (const { name: topic, readQueues, writeQueues } of topics.list()) {
    if (isRetryTopic(topic) || isDeadLetterTopic(topic)) continue
    if (slice.isOver) await slice.rest()
    let messages = 0
    for (let queueId = 0; queueId < Math.max(readQueues, writeQueues); queueId++) {
      messages += store.range(topic, queueId).maxOffset
    }
    found.push({ topic, messages })
  }
  found.sort((a, b) => b.messages - a.messages)
  for (const { topic, messages } of found) {
    set(MESSAGES_IN, messages, { topic, is_system: String(isSystemTopic(topic)) })
  }
}

function showGiven({ givenCounts }: BrokerParts, set: SetGauge): void {
  const found = [...givenCounts.totals()].sort((a, b) => b.messages - a.messages)
  for (const { group, topic, messages } of found) {
    if (isRetryTopic(topic)) continue
    const is_system = String(isSystemTopic(topic))
    set(MESSAGES_OUT, messages, { topic, consumer_group: group, is_system })
  }
}
