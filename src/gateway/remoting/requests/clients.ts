// Presence: heartbeats, leaving, and the list of a group's members.

import { BrokerError } from '../../../errors.ts'
import { parseMessageFilter } from '../../../model/message-filter.ts'
import { isLightQueue, isRetryTopic } from '../../../model/names.ts'
import { REQUEST, RESPONSE } from '../../../remoting/codes.ts'
import { readFields, writeFields } from '../../../remoting/layout.ts'
import {
  CONSUMER_GROUP,
  type ConsumerEntry,
  decodeClientConfigCheck,
  decodeHeartbeat,
  encodeConsumerIds,
  UNREGISTER_CLIENT,
} from '../../../remoting/requests/clients.ts'
import { popShare } from '../../admin/request-modes.ts'
import { groupResource, topicResource } from '../address.ts'
import {
  type Answer,
  answerBody,
  authorize,
  type Call,
  DONE,
  isThereOrMayCreate,
  type Push,
  type RequestTable,
  type Serve,
} from '../call.ts'
import { together } from '../together.ts'

export const clientRequests: RequestTable = new Map<number, Serve>([
  [REQUEST.heartbeat, heartbeat],
  [REQUEST.unregisterClient, unregister],
  [REQUEST.getConsumerList, consumerList],
  [REQUEST.checkClientConfig, checkConfig],
])

/** Groups of one client: each is compared with its other members when the client changes. */
const CONSUMERS_MAX = 1000

/** Tells a member of the group to divide its queues anew. */
export const rebalanceNotice = (consumerGroup: string): Push => ({
  code: REQUEST.notifyConsumersChanged,
  fields: writeFields(CONSUMER_GROUP, { consumerGroup }),
})

/** Answered only once the registration holds: clients ask for the group's members right after. */
async function heartbeat(call: Call): Promise<Answer> {
  const beat = decodeHeartbeat(call.body)
  if (beat.clientId === '') {
    throw new BrokerError('ARGUMENT_INVALID', "the heartbeat lacks 'clientID'")
  }
  if (beat.consumers.length > CONSUMERS_MAX) {
    throw new BrokerError(
      'ARGUMENT_INVALID',
      `the heartbeat names ${beat.consumers.length} consumer groups; ${CONSUMERS_MAX} are the most`,
    )
  }
  for (const consumer of beat.consumers) authorizeConsumer(call, consumer)
  const consumers = await withGroups(call, beat.consumers)
  const made = await makeTopics(call, consumers)
  const withNewTopics = consumers.filter((consumer) =>
    consumer.subscriptions.some(({ topic }) => made.has(topic)),
  )
  const popping = await poppingGroups(call, consumers)
  await call.client.register(call.context.broker, beat, consumers, call, popping)
  for (const { groupName } of withNewTopics) call.client.tellAgain(groupName)
  if (call.client.looksAgain(call.context.clock.monotonic())) await tellAlone(call, consumers)
  return DONE
}

async function tellAlone({ context, client }: Call, consumers: readonly ConsumerEntry[]) {
  for (const { groupName } of consumers) {
    const group = await context.broker.groups.get(groupName)
    if (group?.quiet !== true) client.tell(groupName)
  }
}

function authorizeConsumer(call: Call, consumer: ConsumerEntry): void {
  authorize(call, 'consume', groupResource(consumer.groupName))
  for (const { topic } of consumer.subscriptions) {
    if (!isRetryTopic(topic)) authorize(call, 'consume', topicResource(topic))
  }
}

/**
 * Creates groups and their retry topics where that is allowed. One that does not exist and may not
 * be created is left out, as Apache does: its pulls are told.
 */
async function withGroups(
  { context }: Call,
  consumers: readonly ConsumerEntry[],
): Promise<readonly ConsumerEntry[]> {
  const names = new Set(consumers.map(({ groupName }) => groupName))
  const missing = new Set<string>()
  await together(names, async (name) => {
    try {
      await context.broker.groups.ensure(name)
    } catch (error) {
      if (BrokerError.from(error).code !== 'GROUP_NOT_FOUND') throw error
      missing.add(name)
    }
  })
  return consumers.filter(({ groupName }) => !missing.has(groupName))
}

/** Creates the subscribed topics where that is allowed. @returns the new ones */
async function makeTopics(
  call: Call,
  consumers: readonly ConsumerEntry[],
): Promise<ReadonlySet<string>> {
  const { topics } = call.context.broker
  const named = consumers.flatMap(({ subscriptions }) => subscriptions.map(({ topic }) => topic))
  const made = new Set<string>()
  await together(new Set(named), async (name) => {
    // A light queue comes with the first pull of it.
    if (isRetryTopic(name) || isLightQueue(name) || !(await isThereOrMayCreate(call, name))) return
    const isThere = (await topics.get(name)) !== undefined
    try {
      await topics.ensure(name)
      if (!isThere) made.add(name)
    } catch (error) {
      if (BrokerError.from(error).code !== 'TOPIC_NOT_FOUND') throw error
    }
  })
  return made
}

/** Those whose members are told to pop. */
async function poppingGroups(
  { context, client }: Call,
  consumers: readonly ConsumerEntry[],
): Promise<ReadonlySet<string>> {
  const popping = new Set<string>()
  for (const { groupName, subscriptions } of consumers) {
    // A heartbeat may leave out what an earlier one said.
    const said = subscriptions.length > 0 ? subscriptions : client.subscriptions(groupName)
    const topics = said.map(({ topic }) => topic)
    if ((await popShare(context.broker, groupName, topics)) !== undefined) popping.add(groupName)
  }
  return popping
}

async function unregister(call: Call): Promise<Answer> {
  const { producerGroup, consumerGroup } = readFields(UNREGISTER_CLIENT, call.fields)
  const groups = [producerGroup, consumerGroup].filter((group) => group !== undefined)
  await call.client.unregister(
    call.context.broker,
    groups.filter((group) => group !== ''),
  )
  return DONE
}

async function consumerList(call: Call): Promise<Answer> {
  const { consumerGroup } = readFields(CONSUMER_GROUP, call.fields)
  authorize(call, 'read', groupResource(consumerGroup))
  // Members ask in order to choose their queues.
  await call.client.reads(call.context.broker, consumerGroup, 'queue-assigned')
  const { clients } = call.context.broker
  const ids = await clients.consumerIds(consumerGroup, call.client.clientId)
  if (ids.length > 0) return answerBody(encodeConsumerIds(ids))
  return {
    code: RESPONSE.systemError,
    remark: `no consumer for this group: '${consumerGroup}' has no client online`,
  }
}

/** Asked by Java consumers before they subscribe with anything but tags. */
function checkConfig(call: Call): Answer {
  const { group, subscription } = decodeClientConfigCheck(call.body)
  authorize(call, 'read', groupResource(group))
  parseMessageFilter(subscription.subString, subscription.expressionType)
  return DONE
}
