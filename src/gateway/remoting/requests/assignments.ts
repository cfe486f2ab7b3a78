// The broker says which queues a member reads, and whether by queue or by POP: QUERY_ASSIGNMENT,
// SET_MESSAGE_REQUEST_MODE and GET_ALL_MESSAGE_REQUEST_MODE. Java's consumers ask with
// `setClientRebalance(false)`.
import { BrokerError } from '../../../errors.ts'
import { ANY_QUEUE, type QueueName } from '../../../model/message.ts'
import { isRetryTopic } from '../../../model/names.ts'
import type { GatewayContext } from '../../../port/gateway.ts'
import { ALLOCATIONS, compareQueues } from '../../../remoting/allocation.ts'
import { REQUEST } from '../../../remoting/codes.ts'
import {
  type AssignmentQuery,
  decodeAssignmentQuery,
  decodeRequestMode,
  encodeAssignments,
  encodeRequestModes,
} from '../../../remoting/requests/assignments.ts'
import { popShare, requestModes, setRequestMode } from '../../admin/request-modes.ts'
import { CLUSTER, groupResource, topicResource } from '../address.ts'
import {
  type Answer,
  answerBody,
  authorize,
  authorizeConsuming,
  type Call,
  DONE,
  type RequestTable,
} from '../call.ts'

export const assignmentRequests: RequestTable = new Map([
  [REQUEST.queryAssignment, queryAssignment],
  [REQUEST.setRequestMode, setMode],
  [REQUEST.getAllRequestModes, allModes],
])

async function queryAssignment(call: Call): Promise<Answer> {
  const query = decodeAssignmentQuery(call.body)
  const { topic, consumerGroup } = query
  authorizeConsuming(call, consumerGroup, topic)
  const { broker } = call.context
  const subscribed = call.client.subscriptions(consumerGroup).map((one) => one.topic)
  const share =
    query.messageModel === 'BROADCASTING'
      ? undefined
      : await popShare(broker, consumerGroup, [topic, ...subscribed])
  const mode = share === undefined ? 'PULL' : 'POP'
  await call.client.reads(
    broker,
    consumerGroup,
    share === undefined ? 'queue-assigned' : 'per-message',
  )
  // What failed comes by the POPs of its own topic: nothing reads the retry topic by queue.
  if (share !== undefined && isRetryTopic(topic)) return answerBody(encodeAssignments([], mode))
  return answerBody(encodeAssignments(await queuesOf(call, query, share), mode))
}

/**
 * undefined: the member, or what other brokers have, is not known now, and the member goes on as it
 * is.
 */
async function queuesOf(
  { context }: Call,
  { topic, consumerGroup, clientId, strategyName, messageModel }: AssignmentQuery,
  share: number | undefined,
): Promise<readonly QueueName[] | undefined> {
  const { topics, clients } = context.broker
  if ((await topics.get(topic)) === undefined) return undefined
  const elsewhere = await queuesElsewhere(context, topic)
  if (elsewhere === undefined) return undefined
  // Each member may ask another broker.
  const queues = [...(await topics.ranges(topic)), ...elsewhere].sort(compareQueues)
  if (messageModel === 'BROADCASTING') return queues
  const memberIds = await clients.consumerIds(consumerGroup, clientId)
  const allocate = ALLOCATIONS.get(strategyName)
  if (memberIds.length === 0 || allocate === undefined) return undefined
  if (share === undefined) return allocate(queues, memberIds, clientId)
  if (share <= 0 || share >= memberIds.length - 1) return wholeBrokers(queues)
  const at = memberIds.indexOf(clientId)
  // Where others share by queue, those that pop are not in the list.
  if (at < 0) return wholeBrokers(queues)
  if (memberIds.length > queues.length) return [queues[at % queues.length]!]
  const shared = [...memberIds, ...memberIds].slice(at, at + share + 1)
  return shared.flatMap((id) => allocate(queues, memberIds, id))
}

/**
 * Of the other brokers: a member asks one broker of the topic, and reads what that says. undefined:
 * no name server tells.
 */
async function queuesElsewhere(
  { broker, routes }: GatewayContext,
  topic: string,
): Promise<QueueName[] | undefined> {
  const told = routes === undefined ? [] : await routes.queuesOf(topic)
  const others = told?.filter(({ brokerName }) => brokerName !== broker.identity.brokerName)
  return others?.flatMap(({ brokerName, readQueues }) =>
    Array.from({ length: readQueues }, (_, queueId) => ({ topic, brokerName, queueId })),
  )
}

/** Every member pops every queue: one assignment for each broker. */
function wholeBrokers(queues: readonly QueueName[]): QueueName[] {
  const brokers = new Map(queues.map((queue) => [queue.brokerName, queue]))
  return [...brokers.values()].map(({ topic, brokerName }) => ({
    topic,
    brokerName,
    queueId: ANY_QUEUE,
  }))
}

async function setMode(call: Call): Promise<Answer> {
  const setting = decodeRequestMode(call.body)
  const { topic, consumerGroup } = setting
  authorize(call, 'manage', topicResource(topic))
  authorize(call, 'manage', groupResource(consumerGroup))
  if (isRetryTopic(topic)) {
    throw new BrokerError('PERMISSION_DENIED', 'retry topic is not allowed to set mode')
  }
  const { broker } = call.context
  if ((await broker.topics.get(topic)) === undefined) {
    throw new BrokerError('TOPIC_NOT_FOUND', `topic[${topic}] not exist`)
  }
  await broker.groups.ensure(consumerGroup)
  await setRequestMode(broker, setting)
  return DONE
}

async function allModes(call: Call): Promise<Answer> {
  authorize(call, 'manage', CLUSTER)
  return answerBody(encodeRequestModes(await requestModes(call.context.broker)))
}
