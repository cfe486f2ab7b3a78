// One request on its way through the front-end, and the form of its answer. A request family is a
// table of functions from calls to answers; it sees the broker through its port and never a socket.

import { type Action, isAllowed, type Principal, type Resource } from '../../access/auth.ts'
import type { SharedSlice } from '../../clock.ts'
import type { QueueName } from '../../model/message.ts'
import { isLightQueue, isRetryTopic, topicOfWire, topicOnWire } from '../../model/names.ts'
import type { OwnProperties } from '../../model/own-properties.ts'
import type { GatewayContext } from '../../port/gateway.ts'
import type { Traffic } from '../../port/traffic.ts'
import { tooLongForAnswer } from '../../remoting/answer-bytes.ts'
import { RESPONSE } from '../../remoting/codes.ts'
import type { HeaderCodec } from '../../remoting/frame.ts'
import type { Fields } from '../../remoting/header/header.ts'
import { type Answer, NO_ANSWER } from '../../remoting/serving/connection.ts'
import { groupResource, topicResource } from './address.ts'
import type { RegisteredClient } from './client.ts'
import type { HeldPops } from './held-pops.ts'
import type { Inflation } from './inflation.ts'
import type { ReadBudget } from './read-budget.ts'

export { type Answer, NO_ANSWER }

export interface RemotingContext extends GatewayContext {
  readonly traffic: Traffic
  readonly heldPops: HeldPops
  readonly inflation: Inflation
  /** Of all looks at records for answers about times and positions. */
  readonly recordLooks: SharedSlice
  /** What the broker adds to messages, as its clients read them. */
  readonly ownProperties: OwnProperties
}

export interface Call {
  readonly code: number
  readonly opaque: number
  readonly codec: HeaderCodec
  readonly fields: Fields
  /** The call's to keep. */
  readonly body: Buffer
  readonly language: string
  readonly version: number
  readonly principal: Principal
  readonly client: RegisteredClient
  readonly context: RemotingContext
  /** Bounds the bytes that are read for answers. */
  readonly reads: ReadBudget
  /**
   * Bounds reads of records that the answer does not contain: such a request must not wait until a
   * slow link has taken the answers before it.
   */
  readonly looks: ReadBudget
  readonly memberOf: MemberOf
  /** Aborted when the connection is gone and with it the receiver of the answer. */
  readonly signal: AbortSignal
}

/** What of a call is kept while its answer is held: neither the fields nor a body. */
export type HeldCall = Pick<
  Call,
  'opaque' | 'codec' | 'principal' | 'client' | 'context' | 'reads' | 'signal'
>

export const heldCall = ({
  opaque,
  codec,
  principal,
  client,
  context,
  reads,
  signal,
}: HeldCall): HeldCall => ({ opaque, codec, principal, client, context, reads, signal })

/** A request of ours to a client. */
export interface Push {
  readonly code: number
  readonly fields: Fields
  readonly body?: Uint8Array
}

/** A client that is connected. */
export interface Peer {
  /**
   * Its answer without the fields, or a rejection with TIMED_OUT, BUSY, UNREACHABLE or the signal's
   * reason.
   */
  request(push: Push, signal?: AbortSignal): Promise<Answer>
}

/** undefined: no such member of the group is connected here. */
export type MemberOf = (group: string, clientId: string) => Peer | undefined

export type Serve = (call: Call) => Answer | Promise<Answer>
/** By request code. */
export type RequestTable = ReadonlyMap<number, Serve>

export const DONE: Answer = {}
/** @throws BrokerError ARGUMENT_INVALID when no frame is long enough for it */
export function answerBody(body: Uint8Array): Answer {
  const error = tooLongForAnswer(body)
  if (error !== undefined) throw error
  return { body }
}
export const answerFields = (fields: Fields): Answer => ({ fields })
export const notFound = (remark: string): Answer => ({ code: RESPONSE.queryNotFound, remark })

/** @throws BrokerError PERMISSION_DENIED */
export function authorize(
  call: Pick<Call, 'context' | 'principal'>,
  action: Action,
  resource: Resource,
): void {
  call.context.auth.authorize(call.principal, action, resource)
}

/**
 * One of the actions is enough.
 * @throws BrokerError PERMISSION_DENIED, with the last one's reason
 */
export function authorizeAny(
  call: Pick<Call, 'context' | 'principal'>,
  actions: readonly Action[],
  resource: Resource,
): void {
  const { auth } = call.context
  if (actions.some((action) => isAllowed(auth, call.principal, action, resource))) return
  authorize(call, actions.at(-1)!, resource)
}

/**
 * To read, commit or lock a topic's queues for a group takes the right to consume both; to ask how
 * far the group is, the right to read both. A retry topic is its group's own.
 * @throws BrokerError PERMISSION_DENIED
 */
export function authorizeConsuming(
  call: Pick<Call, 'context' | 'principal'>,
  group: string,
  topic: string,
  action: 'consume' | 'read' = 'consume',
): void {
  authorize(call, action, groupResource(group))
  authorize(call, action, topicResource(topic))
}

/** For answers about several topics: those that the caller may not read are left out. */
export const mayRead = (call: Pick<Call, 'context' | 'principal'>, topic: string): boolean =>
  isAllowed(call.context.auth, call.principal, 'read', topicResource(topicOnWire(topic)))

/** A queue of this broker, the only one that a native client asks here. */
export const ownQueue = (
  { context }: Pick<Call, 'context'>,
  topic: string,
  queueId: number,
): QueueName => ({
  topic: topicOfWire(topic),
  brokerName: context.broker.identity.brokerName,
  queueId,
})

/**
 * With broker.autoCreateTopics a subscription to a missing topic, or a pull from it, creates it:
 * the caller needs the right to create.
 */
export async function isThereOrMayCreate(
  { context, principal }: Pick<Call, 'context' | 'principal'>,
  topic: string,
): Promise<boolean> {
  // A retry topic comes with its group, a light queue with its filter.
  if (principal.admin || isRetryTopic(topic) || isLightQueue(topic)) return true
  if ((await context.broker.topics.get(topic)) !== undefined) return true
  return isAllowed(context.auth, principal, 'create', topicResource(topic))
}
