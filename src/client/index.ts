// The public face of the SDK.
export { BrokerError, type ErrorCode } from '../errors.ts'
export type { Credentials } from '../remoting/signature.ts'
export type { Admin, BrokerEntry } from './admin/admin.ts'
export type { BrokerState } from './admin/broker-state.ts'
export type {
  GroupAdmin,
  GroupDescription,
  GroupMemberEntry,
  GroupQueue,
  GroupSummary,
} from './admin/group-admin.ts'
export type { Master, PartialOptions } from './admin/masters.ts'
export type { KeyQuery, MessageLookup } from './admin/message-lookup.ts'
export type { TraceEvent } from './admin/message-trace.ts'
export type { OffsetReset, ResetPlace, ResetQueue } from './admin/offset-reset.ts'
export type {
  NewTopic,
  TopicAdmin,
  TopicDescription,
  TopicQueue,
  TopicSummary,
} from './admin/topic-admin.ts'
export type { CallOptions } from './calls/calls.ts'
export type { OutgoingMessage } from './calls/outgoing.ts'
export type { Status } from './calls/status.ts'
export { type Client, type ConsumeOptions, connect, type SubscriptionOptions } from './client.ts'
export type { Consumer, Handler } from './consume/consumer.ts'
export type { Delivery, Message } from './consume/delivery.ts'
export type { PopOptions } from './consume/popper.ts'
export type { PullRequest, PullResult, QueueEnds } from './consume/positions.ts'
export type { StartAt } from './consume/start-offset.ts'
export type { SubscribeOptions, Tags } from './consume/subscribe-options.ts'
export type { BatchOptions, CloseOptions, Subscription } from './consume/subscription.ts'
export type { ReadOptions, TopicReader } from './consume/topic-reader.ts'
export type { DeadLetterQuery, DeadLetters } from './dead-letters.ts'
export type { ConnectOptions } from './options.ts'
export { BatchError, type SendResult, type SendStatus } from './produce/producer.ts'
export type { Reply } from './produce/reply.ts'
export type { ReplyMessage } from './produce/requests.ts'
export type {
  CheckTransaction,
  TransactionOutcome,
  TransactionResult,
  TransactionWork,
} from './transactional-producer.ts'
