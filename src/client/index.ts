// The public face of the SDK.
export { BrokerError, type ErrorCode } from '../errors.ts'
export type { Credentials } from '../remoting/signature.ts'
export type { Admin, BrokerEntry } from './admin.ts'
export type { BrokerState } from './broker-state.ts'
export type { CallOptions } from './calls.ts'
export { type Client, type ConsumeOptions, connect, type SubscriptionOptions } from './client.ts'
export type { Consumer, Handler } from './consumer.ts'
export type { Delivery, Message } from './delivery.ts'
export type {
  GroupAdmin,
  GroupDescription,
  GroupMemberEntry,
  GroupQueue,
  GroupSummary,
} from './group-admin.ts'
export type { Master, PartialOptions } from './masters.ts'
export type { KeyQuery, MessageLookup } from './message-lookup.ts'
export type { ConnectOptions } from './options.ts'
export type { OutgoingMessage } from './outgoing.ts'
export type { PullRequest, PullResult, QueueEnds } from './positions.ts'
export { BatchError, type SendResult } from './producer.ts'
export type { StartAt } from './start-offset.ts'
export type { Status } from './status.ts'
export type { SubscribeOptions, Tags } from './subscribe-options.ts'
export type { CloseOptions, ReceiveOptions, Subscription } from './subscription.ts'
export type {
  NewTopic,
  TopicAdmin,
  TopicDescription,
  TopicQueue,
  TopicSummary,
} from './topic-admin.ts'
export type { ReadOptions, TopicReader } from './topic-reader.ts'
