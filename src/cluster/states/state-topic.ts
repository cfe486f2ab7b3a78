// The topic that keeps the states of all gateways of a cluster: made on every master, compacted
// where the masters can. Which queue an id belongs to must not change with the masters that are
// there, so the masters of the first day are written at the beginning of each queue.
import type { Master } from '../../client/admin/masters.ts'
import { within } from '../../client/calls/abort.ts'
import { type Clock, sleep } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import type { PullRequest, PullResult } from '../../model/message.ts'
import { AUTO_CREATE_TOPIC, STATE_TOPIC } from '../../model/names.ts'
import { queueOffset } from '../../model/positions.ts'
import { recordsOf } from '../../model/record.ts'
import { EVERY_TAG } from '../../model/tag-filter.ts'
import { PERM_READ_WRITE } from '../../model/topic.ts'
import { REQUEST, RESPONSE } from '../../remoting/codes.ts'
import { writeFields } from '../../remoting/layout.ts'
import type { QueueRef } from '../../remoting/requests/queue.ts'
import { TOPIC, UPDATE_TOPIC } from '../../remoting/requests/topics.ts'
import type { Links } from '../links.ts'
import type { ClusterOptions } from '../options.ts'
import type { ClusterLookup } from '../read/lookup.ts'
import type { ClusterPuller } from '../read/puller.ts'
import { areNames, snapshotBrokers } from './snapshots.ts'
import { decodeStateRecord } from './state-record.ts'

/** On each master. */
const QUEUES = 8
const COMPACTED = '+cleanup.policy=COMPACTION'
/** Another gateway that makes the topic now writes its layout so soon. */
const LAYOUT_MS = 3_000
const PAUSE_MS = 100
const HEAD = { maxMessages: 32, maxBytes: 65_536, filter: EVERY_TAG, waitMs: 0 }

interface Parts {
  readonly links: Links
  readonly options: ClusterOptions
  readonly clock: Clock
  readonly puller: ClusterPuller
  readonly lookup: ClusterLookup
}

export interface StateLayout {
  /** Of all ids, always in the same order; a broker of them may be away. */
  readonly queues: readonly QueueRef[]
  /** It is to be written before anything else. */
  readonly isNew: boolean
}

/** The queues of the state topic, made when they are not there. */
export async function stateLayout(parts: Parts): Promise<StateLayout> {
  const { links, options, clock } = parts
  const limits = { timeoutMs: options.requestTimeoutMs }
  const isNew = await createStateTopic(parts)
  const { readable } = await links.routes.queues(STATE_TOPIC, limits)
  const names = (all: readonly QueueRef[]): string[] =>
    [...new Set(all.map(({ brokerName }) => brokerName))].sort()
  if (isNew) return { queues: queuesOf(names(readable)), isNew }
  const endMs = clock.monotonic() + LAYOUT_MS
  for (;;) {
    const written = await writtenLayout(parts, readable)
    if (written !== undefined) return { queues: queuesOf(written), isNew }
    if (clock.monotonic() >= endMs) return { queues: queuesOf(names(readable)), isNew: true }
    await sleep(clock, PAUSE_MS)
  }
}

export const encodeLayout = (queues: readonly QueueRef[]): Buffer =>
  Buffer.from(JSON.stringify([...new Set(queues.map(({ brokerName }) => brokerName))]))

const queuesOf = (brokerNames: readonly string[]): QueueRef[] =>
  brokerNames.flatMap((brokerName) =>
    Array.from({ length: QUEUES }, (_, queueId) => ({ topic: STATE_TOPIC, brokerName, queueId })),
  )

/** Of the first broker that has one. Rejects when none answers: there may be one. */
async function writtenLayout(
  { puller, lookup, clock, options }: Parts,
  readable: readonly QueueRef[],
): Promise<readonly string[] | undefined> {
  let failure: unknown
  let isAnswered = false
  for (const queue of readable.filter(({ queueId }) => queueId === 0)) {
    const find = (brokerName: string, key: string) => lookup.byKeyOn(brokerName, STATE_TOPIC, key)
    const what = `reading '${STATE_TOPIC}'`
    const limits = { timeoutMs: options.requestTimeoutMs }
    const pull = (request: PullRequest): Promise<PullResult> =>
      within(puller.pull(request), limits, clock, what)
    const kept = await snapshotBrokers({ queue, find, pull }).catch(() => undefined)
    if (kept !== undefined) return kept
    const head = await pull({ ...queue, ...HEAD, offset: queueOffset(0) }).catch((error) => {
      failure = error
    })
    if (!head) continue
    isAnswered = true
    for (const record of recordsOf(head.records)) {
      const stored = decodeStateRecord(record)
      const layout = stored?.kind === 'layout' ? decodeLayout(stored.value) : undefined
      if (layout !== undefined) return layout
    }
  }
  if (!isAnswered && failure !== undefined) throw failure
  return undefined
}

/** undefined: it is none. */
function decodeLayout(value: Buffer): readonly string[] | undefined {
  try {
    const names: unknown = JSON.parse(value.toString())
    return areNames(names) ? names : undefined
  } catch {
    return undefined
  }
}

/** @returns whether it was not there */
async function createStateTopic({ links, options }: Parts): Promise<boolean> {
  const limits = { timeoutMs: options.requestTimeoutMs }
  try {
    await links.routes.queues(STATE_TOPIC, limits)
    return false
  } catch (error) {
    if (!(error instanceof BrokerError) || error.code !== 'TOPIC_NOT_FOUND') throw error
  }
  const masters = await links.masters.list(limits)
  await create(links, masters, limits)
  links.routes.forget(STATE_TOPIC)
  await links.routes.untilKnown(STATE_TOPIC, masters.length * QUEUES)
  return true
}

/** On a master that is there and has it no more: an operator deleted it. Answers whether it was. */
export async function remakeStateTopic(
  { links, options }: Pick<Parts, 'links' | 'options'>,
  brokerName: string,
): Promise<boolean> {
  const limits = { timeoutMs: options.requestTimeoutMs }
  const all = await links.masters.list(limits)
  const masters = all.filter(({ name }) => name === brokerName)
  for (const { address } of masters) {
    const connection = await links.masters.connection(address, limits)
    const fields = writeFields(TOPIC, { topic: STATE_TOPIC })
    const response = await connection.request(REQUEST.getTopicConfig, { ...limits, fields })
    if (response.code !== RESPONSE.topicNotExist) return false
  }
  if (masters.length === 0) return false
  await create(links, masters, limits)
  links.routes.forget(STATE_TOPIC)
  return true
}

async function create(
  links: Links,
  masters: readonly Master[],
  limits: { readonly timeoutMs: number },
): Promise<void> {
  const make = (attributes: string | undefined): Promise<void> => {
    const fields = writeFields(UPDATE_TOPIC, {
      topic: STATE_TOPIC,
      defaultTopic: AUTO_CREATE_TOPIC,
      readQueueNums: QUEUES,
      writeQueueNums: QUEUES,
      perm: PERM_READ_WRITE,
      topicFilterType: 'SINGLE_TAG',
      topicSysFlag: 0,
      order: false,
      attributes,
    })
    const asked = { ...limits, fields }
    return links.masters.change(masters, REQUEST.updateTopic, 'creating the state topic', asked)
  }
  // One of our own brokers says that it does not compact.
  await make(COMPACTED).catch(() => make(undefined))
}
