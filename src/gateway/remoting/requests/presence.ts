// The connected clients and their subscriptions: the questions of mqadmin and the dashboard.

import { Slice } from '../../../clock.ts'
import type {
  ClientRegistration,
  ConsumerRegistration,
  TopicSubscription,
} from '../../../model/client.ts'
import type { MessageFilter } from '../../../model/message-filter.ts'
import { topicOfWire, topicOnWire } from '../../../model/names.ts'
import type { Broker } from '../../../port/broker.ts'
import { REQUEST, RESPONSE } from '../../../remoting/codes.ts'
import { readFields } from '../../../remoting/layout.ts'
import {
  CONSUMER_GROUP,
  expressionOf,
  type SubscriptionEntry,
} from '../../../remoting/requests/clients.ts'
import {
  type ConnectionEntry,
  encodeConsumerConnections,
  encodeGroupSubscription,
  encodeProducerConnections,
  encodeProducers,
  GROUP,
  GROUP_SUBSCRIPTION,
  PRODUCER_GROUP,
} from '../../../remoting/requests/groups.ts'
import { encodeTopicList } from '../../../remoting/requests/route.ts'
import { encodeGroupList, TOPIC } from '../../../remoting/requests/topics.ts'
import { CLUSTER, groupResource, topicResource } from '../address.ts'
import {
  type Answer,
  answerBody,
  authorize,
  authorizeConsuming,
  type Call,
  mayRead,
  type RequestTable,
} from '../call.ts'

export const presenceRequests: RequestTable = new Map([
  [REQUEST.getConsumerConnections, consumerConnections],
  [REQUEST.getProducerConnections, producerConnections],
  [REQUEST.getAllProducers, allProducers],
  [REQUEST.queryTopicConsumers, topicConsumers],
  [REQUEST.queryConsumerTopics, consumerTopics],
  [REQUEST.queryConsumerSubscription, consumerSubscription],
])

const connectionOf = (client: ClientRegistration): ConnectionEntry => ({
  clientId: client.clientId,
  clientAddr: client.address,
  language: client.language,
  version: client.version,
})

export const subscriptionEntry = ({
  topic,
  filter,
  version,
}: TopicSubscription): SubscriptionEntry => ({
  topic,
  ...expressionOf(filter),
  subVersion: version,
})

interface Member {
  readonly client: ClientRegistration
  readonly consumer: ConsumerRegistration
}

async function membersOf(broker: Broker, group: string): Promise<Member[]> {
  const clients = await broker.clients.list()
  return clients.flatMap((client) =>
    client.consumers
      .filter((consumer) => consumer.group === group)
      .map((consumer) => ({ client, consumer })),
  )
}

async function consumerConnections(call: Call): Promise<Answer> {
  const { consumerGroup } = readFields(CONSUMER_GROUP, call.fields)
  authorize(call, 'read', groupResource(consumerGroup))
  const members = await membersOf(call.context.broker, consumerGroup)
  const newest = members.at(-1)?.consumer
  if (newest === undefined) {
    const remark = `the consumer group[${consumerGroup}] not online`
    return { code: RESPONSE.consumerNotOnline, remark }
  }
  const body = encodeConsumerConnections({
    connections: members.map(({ client }) => connectionOf(client)),
    consumeFromWhere: newest.consumeFrom,
    consumeType: newest.consumeType,
    messageModel: newest.model === 'broadcasting' ? 'BROADCASTING' : 'CLUSTERING',
    subscriptions: newest.subscriptions.map(subscriptionEntry),
  })
  return answerBody(body)
}

async function producerConnections(call: Call): Promise<Answer> {
  const { producerGroup } = readFields(PRODUCER_GROUP, call.fields)
  authorize(call, 'manage', groupResource(producerGroup))
  const clients = await call.context.broker.clients.list()
  const members = clients.filter((client) => client.producerGroups.includes(producerGroup))
  if (members.length === 0) {
    const remark = `the producer group[${producerGroup}] not exist`
    return { code: RESPONSE.systemError, remark }
  }
  return answerBody(encodeProducerConnections(members.map(connectionOf)))
}

async function allProducers(call: Call): Promise<Answer> {
  authorize(call, 'manage', CLUSTER)
  const { broker, clock } = call.context
  const groups = new Map<string, ConnectionEntry[]>()
  const slice = new Slice(clock)
  for (const client of await broker.clients.list()) {
    if (slice.isOver) await slice.rest()
    for (const group of client.producerGroups) {
      const members = groups.get(group) ?? []
      members.push(connectionOf(client))
      groups.set(group, members)
    }
  }
  return answerBody(await encodeProducers(groups, clock.now(), slice))
}

/** Groups that consume the topic now, or have committed offsets in it. */
async function topicConsumers(call: Call): Promise<Answer> {
  const { topic } = readFields(TOPIC, call.fields)
  authorize(call, 'read', topicResource(topic))
  const { broker, clock } = call.context
  const own = topicOfWire(topic)
  const subscribed = new Set<string>()
  for (const { consumers } of await broker.clients.list()) {
    for (const { group, subscriptions } of consumers) {
      if (subscriptions.some((subscription) => subscription.topic === own)) subscribed.add(group)
    }
  }
  const groups: string[] = []
  const slice = new Slice(clock)
  for (const { name } of await broker.groups.list()) {
    if (slice.isOver) await slice.rest()
    const isConsuming =
      subscribed.has(name) || (await broker.groups.lags(name)).some((lag) => lag.topic === own)
    if (isConsuming) groups.push(name)
  }
  return answerBody(encodeGroupList(groups))
}

async function consumerTopics(call: Call): Promise<Answer> {
  const { group } = readFields(GROUP, call.fields)
  authorize(call, 'read', groupResource(group))
  const { broker, clock } = call.context
  const slice = new Slice(clock)
  const topics = new Set<string>()
  for (const { topic } of await broker.groups.lags(group)) {
    if (slice.isOver) await slice.rest()
    topics.add(topic)
  }
  for (const { consumer } of await membersOf(broker, group)) {
    for (const { topic } of consumer.subscriptions) topics.add(topic)
  }
  const allowed: string[] = []
  for (const topic of topics) {
    if (slice.isOver) await slice.rest()
    if (mayRead(call, topic)) allowed.push(topicOnWire(topic))
  }
  return answerBody(await encodeTopicList(allowed, slice))
}

async function consumerSubscription(call: Call): Promise<Answer> {
  const { group, topic } = readFields(GROUP_SUBSCRIPTION, call.fields)
  authorizeConsuming(call, group, topic, 'read')
  const found = await subscriptionIn(call, group, topic)
  return answerBody(encodeGroupSubscription(group, topic, found?.entry))
}

/** undefined while no member of the group subscribes to the topic. */
export async function subscriptionIn(
  call: Call,
  group: string,
  topic: string,
): Promise<{ readonly filter: MessageFilter; readonly entry: SubscriptionEntry } | undefined> {
  const members = await membersOf(call.context.broker, group)
  const found = members
    .flatMap(({ consumer }) => consumer.subscriptions)
    .find((subscription) => subscription.topic === topic)
  return found && { filter: found.filter, entry: subscriptionEntry(found) }
}
