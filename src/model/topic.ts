// What a topic is: its queues, and the permission that clients have to it.
import { BrokerError } from '../errors.ts'
import { tagHash } from './tag-filter.ts'

/** Permission bits of a topic as RocketMQ writes them: 4 read, 2 write, 1 inherit. */
export const PERM_READ = 4
export const PERM_WRITE = 2
export const PERM_INHERIT = 1
export const PERM_READ_WRITE = PERM_READ | PERM_WRITE

export interface TopicDefinition {
  readonly name: string
  readonly readQueues: number
  readonly writeQueues: number
  readonly perm: number
  /** Strictly ordered topics keep their queues when a broker is away (RocketMQ's `order`). */
  readonly ordered: boolean
  /** RocketMQ's topicSysFlag, kept for its clients. */
  readonly sysFlag: number
  /** RocketMQ 5's attributes as an operator set them, by name; no message is checked by them. */
  readonly attributes?: Readonly<Record<string, string>>
}

/** How many queues of a topic a broker has to be read. */
export interface BrokerQueues {
  readonly brokerName: string
  readonly readQueues: number
}

/** @throws PERMISSION_DENIED */
export function checkReadable({ name, perm }: Pick<TopicDefinition, 'name' | 'perm'>): void {
  if ((perm & PERM_READ) === 0) throw unreadable(name)
}

export const unreadable = (topic: string): BrokerError =>
  new BrokerError('PERMISSION_DENIED', `the topic '${topic}' is not readable`)

/** One key, one queue; the same queue that Java's SelectMessageQueueByHash takes for a String. */
export const queueOfKey = (key: string, queues: number): number => Math.abs(tagHash(key) % queues)
