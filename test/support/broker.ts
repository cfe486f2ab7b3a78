// A broker over a real store in a directory of its own, with a clock that the test moves.
import { cpSync } from 'node:fs'
import { type EmbeddedBroker, openBroker } from '../../src/broker/broker.ts'
import { BROKER_DEFAULTS, type BrokerOptions } from '../../src/broker/options.ts'
import { BrokerError } from '../../src/errors.ts'
import { silentLogger } from '../../src/log.ts'
import {
  ANY_QUEUE,
  type NewMessage,
  type PullRequest,
  type PullResult,
  type QueueName,
  type Receipt,
  type ReceivedMessage,
  type ReceiveRequest,
} from '../../src/model/message.ts'
import { queueOffset } from '../../src/model/positions.ts'
import { encodeProperties } from '../../src/model/properties.ts'
import { RecordView, recordsOf } from '../../src/model/record.ts'
import { EVERY_TAG } from '../../src/model/tag-filter.ts'
import { PERM_READ_WRITE, type TopicDefinition } from '../../src/model/topic.ts'
import { Numbers } from '../../src/numbers/numbers.ts'
import type { Broker } from '../../src/port/broker.ts'
import { openStore } from '../../src/store/open.ts'
import type { MessageStore } from '../../src/store/store.ts'
import { FakeClock } from './fake-clock.ts'
import { type Faults, faultyStore } from './store/faulty-store.ts'
import { type Teardown, tempDir } from './temp-dir.ts'

const SEGMENT_BYTES = 4 * 1024 * 1024

export interface TestBroker {
  readonly broker: EmbeddedBroker
  readonly store: MessageStore
  readonly clock: FakeClock
  readonly numbers: Numbers
  readonly faults: Faults
  /** Closes in order and opens again over the same directory. */
  reopen(changed?: Partial<BrokerOptions>): Promise<TestBroker>
  /** Opens over what the disk holds now, as after a kill; nothing more is written here. */
  crash(): Promise<TestBroker>
  close(): Promise<void>
}

export async function startBroker(
  t: Teardown,
  options: Partial<BrokerOptions> = {},
): Promise<TestBroker> {
  return open(t, await tempDir(t), new FakeClock(), options)
}

async function open(
  t: Teardown,
  directory: string,
  clock: FakeClock,
  options: Partial<BrokerOptions>,
): Promise<TestBroker> {
  const log = silentLogger
  const storeHost = { ip: 0x7f000001, port: 10_911 }
  const numbers = new Numbers()
  const parts = { clock, log, numbers }
  const real = await openStore({ ...parts, directory, storeHost, segmentBytes: SEGMENT_BYTES })
  const { store, faults } = faultyStore(real)
  const broker = openBroker({ ...parts, store, options })
  let closing: Promise<void> | undefined
  const close = (): Promise<void> => {
    closing ??= broker.close().then(() => store.close())
    return closing
  }
  t.teardown(close)
  return {
    broker,
    store,
    clock,
    numbers,
    faults,
    close,
    reopen: async (changed) => {
      await close()
      return open(t, directory, clock, { ...options, ...changed })
    },
    crash: async () => {
      const copy = await tempDir(t)
      // In one go, so that it is what one moment had on the disk.
      cpSync(directory, copy, { recursive: true })
      return open(t, copy, clock, options)
    },
  }
}

export interface MessageShape extends Partial<Omit<NewMessage, 'body' | 'properties'>> {
  readonly body?: string
  readonly tag?: string
  readonly properties?: Record<string, string>
}

export function newMessage(topic: string, shape: MessageShape = {}): NewMessage {
  const { body = 'hello', tag, properties = {}, ...rest } = shape
  return {
    topic,
    queueId: ANY_QUEUE,
    flag: 0,
    sysFlag: 0,
    bornTimestamp: 1_700_000_000_000,
    bornHost: { ip: 0x7f000001, port: 50_000 },
    reconsumeTimes: 0,
    createTopic: true,
    // As a front-end that writes the properties itself.
    ownProperties: true,
    ...rest,
    body: Buffer.from(body),
    properties: encodeProperties(
      Object.entries({ ...properties, ...(tag !== undefined && { TAGS: tag }) }),
    ),
  }
}

/** The broker's own. */
export const BROKER = BROKER_DEFAULTS.brokerName

export const queueOf = (topic: string, queueId = 0): QueueName => ({
  topic,
  brokerName: BROKER,
  queueId,
})

export const receiveRequest = (
  topic: string,
  group: string,
  shape: Partial<ReceiveRequest> = {},
): ReceiveRequest => ({
  topic,
  queueId: ANY_QUEUE,
  group,
  filter: EVERY_TAG,
  maxMessages: 32,
  maxBytes: 1024 * 1024,
  invisibleMs: 30_000,
  ordered: false,
  startAt: 'first',
  waitMs: 0,
  memberId: 'test',
  ...shape,
})

export const pullRequest = (
  topic: string,
  shape: Partial<Omit<PullRequest, 'offset'>> & { offset?: number } = {},
): PullRequest => ({
  ...queueOf(topic),
  maxMessages: 32,
  maxBytes: 1024 * 1024,
  filter: EVERY_TAG,
  waitMs: 0,
  ...shape,
  offset: queueOffset(shape.offset ?? 0),
})

/** A topic with so many queues. */
export const topicOf = (name: string, queues: number): TopicDefinition => ({
  name,
  readQueues: queues,
  writeQueues: queues,
  perm: PERM_READ_WRITE,
  ordered: false,
  sysFlag: 0,
})

/** Bodies of what was received or pulled. */
export const bodiesOf = (
  from: readonly Pick<ReceivedMessage, 'record'>[] | Pick<PullResult, 'records'>,
): string[] => {
  const records = 'records' in from ? [...recordsOf(from.records)] : from.map(viewOf)
  return records.map((record) => record.body.toString())
}

export const viewOf = ({ record }: Pick<ReceivedMessage, 'record'>): RecordView =>
  new RecordView(record)
export const receiptsOf = (messages: readonly ReceivedMessage[]): Receipt[] =>
  messages.map(({ receipt }) => receipt)

/** Sorted, without doubles. */
export async function stateIds({ states }: Pick<Broker, 'states'>, prefix: string) {
  const ids = new Set<string>()
  for await (const page of states.list(prefix)) for (const { id } of page) ids.add(id)
  return [...ids].sort()
}

/** What settled, or the code of the error. */
export const codesOf = (results: readonly unknown[]): (string | null)[] =>
  results.map((result) => (result instanceof BrokerError ? result.code : null))

/** The code of the BrokerError that a call ends with. */
export async function codeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call
    return 'no error'
  } catch (error) {
    return BrokerError.from(error).code
  }
}

/** Settles after every append that was made before it. */
export async function drain({ store }: TestBroker): Promise<void> {
  await store.append({ messages: [], facts: [{ kind: 'test', key: 'drain', value: null }] })
}

/** Has the promise settled by now, microtasks and commits done? */
export async function isPending(test: TestBroker, promise: Promise<unknown>): Promise<boolean> {
  let pending = true
  const settled = (): void => {
    pending = false
  }
  promise.then(settled, settled)
  await drain(test)
  await new Promise((resolve) => setImmediate(resolve))
  return pending
}
