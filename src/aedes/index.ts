// The package's `trivetmq/aedes`: the two options of an aedes server that put it on a broker.
import { type AedesEmitter, LogEmitter, type MatchingOptions } from './emitter.ts'
import type { AedesBroker } from './options.ts'
import { type AedesPersistence, PortPersistence } from './persistence.ts'

export { BrokerError, type ErrorCode } from '../errors.ts'
export type {
  AedesEmitter,
  AuthorizePublish,
  EmitterDone,
  MatchingOptions,
  PacketListener,
} from './emitter.ts'
export type {
  AedesBroker,
  AedesLimits,
  BackgroundOptions,
  LocalBroker,
  RemoteBroker,
} from './options.ts'
export type { Packet } from './packet.ts'
export type { AedesInstance, AedesPersistence, ClientName } from './persistence.ts'
export type { MatchedSubscription, Subscription } from './subscriptions.ts'
export type { KnownBrokers } from './wills.ts'

/** For aedes's option `mq`. The way to the broker opens with its first use. */
export const createEmitter = (options: AedesBroker & MatchingOptions = {}): AedesEmitter =>
  new LogEmitter(options)

/**
 * For aedes's option `persistence`. With an emitter of `createEmitter` at the same broker it shares
 * that one's connection, and the log is the outgoing queue of every session.
 */
export const createPersistence = (options: AedesBroker = {}): AedesPersistence =>
  new PortPersistence(options)
