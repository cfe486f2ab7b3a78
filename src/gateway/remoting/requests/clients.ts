// Presence: heartbeats, leaving, and the list of a group's members.
import { BrokerError } from '../../../errors.ts'
import { isRetryTopic } from '../../../model/names.ts'
import { REQUEST, RESPONSE } from '../../../remoting/codes.ts'
import { readFields } from '../../../remoting/layout.ts'
import {
  CONSUMER_GROUP,
  type ConsumerEntry,
  decodeClientConfigCheck,
  decodeHeartbeat,
  encodeConsumerIds,
  UNREGISTER_CLIENT,
} from '../../../remoting/requests/clients.ts'
import { filterOf, groupResource, topicResource } from '../address.ts'
import {
  type Answer,
  answerBody,
  authorize,
  type Call,
  DONE,
  isThereOrMayCreate,
  type RequestTable,
  type Serve,
} from '../call.ts'

export const clientRequests: RequestTable = new Map<number, Serve>([
  [REQUEST.heartbeat, heartbeat],
  [REQUEST.unregisterClient, unregister],
  [REQUEST.getConsumerList, consumerList],
  [REQUEST.checkClientConfig, checkConfig],
])

/** Groups of one client: each is compared with its other members when the client changes. */
const CONSUMERS_MAX = 1000

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
  const consumers: ConsumerEntry[] = []
  const withNewTopics: string[] = []
  for (const consumer of beat.consumers) {
    const { isThere, hasNewTopics } = await prepare(call, consumer)
    if (isThere) consumers.push(consumer)
    if (hasNewTopics) withNewTopics.push(consumer.groupName)
  }
  await call.session.register(call.context.broker, beat, consumers, call)
  for (const group of withNewTopics) call.session.tellAgain(group)
  return DONE
}

function authorizeConsumer(call: Call, consumer: ConsumerEntry): void {
  authorize(call, 'consume', groupResource(consumer.groupName))
  for (const { topic } of consumer.subscriptions) {
    if (!isRetryTopic(topic)) authorize(call, 'consume', topicResource(topic))
  }
}

/**
 * Creates the group, its retry topic and the subscribed topics where that is allowed. A group that does
 * not exist and may not be created is left out, as Apache does: its pulls are told.
 */
async function prepare(
  call: Call,
  consumer: ConsumerEntry,
): Promise<{ readonly isThere: boolean; readonly hasNewTopics: boolean }> {
  const { broker } = call.context
  try {
    await broker.groups.ensure(consumer.groupName)
  } catch (error) {
    if (BrokerError.from(error).code !== 'GROUP_NOT_FOUND') throw error
    return { isThere: false, hasNewTopics: false }
  }
  let hasNewTopics = false
  for (const { topic } of consumer.subscriptions) {
    if (isRetryTopic(topic) || !(await isThereOrMayCreate(call, topic))) continue
    const isThere = (await broker.topics.get(topic)) !== undefined
    try {
      await broker.topics.ensure(topic)
      if (!isThere) hasNewTopics = true
    } catch (error) {
      if (BrokerError.from(error).code !== 'TOPIC_NOT_FOUND') throw error
    }
  }
  return { isThere: true, hasNewTopics }
}

async function unregister(call: Call): Promise<Answer> {
  const { producerGroup, consumerGroup } = readFields(UNREGISTER_CLIENT, call.fields)
  const groups = [producerGroup, consumerGroup].filter((group) => group !== undefined)
  await call.session.unregister(
    call.context.broker,
    groups.filter((group) => group !== ''),
  )
  return DONE
}

async function consumerList(call: Call): Promise<Answer> {
  const { consumerGroup } = readFields(CONSUMER_GROUP, call.fields)
  authorize(call, 'consume', groupResource(consumerGroup))
  const ids = await call.context.broker.clients.consumerIds(consumerGroup)
  if (ids.length > 0) return answerBody(encodeConsumerIds(ids))
  return {
    code: RESPONSE.systemError,
    remark: `no consumer for this group: '${consumerGroup}' has no client online`,
  }
}

/** Asked by Java consumers before they subscribe with anything but tags. */
function checkConfig(call: Call): Answer {
  const { group, subscription } = decodeClientConfigCheck(call.body)
  authorize(call, 'consume', groupResource(group))
  filterOf(subscription.subString, subscription.expressionType)
  return DONE
}
