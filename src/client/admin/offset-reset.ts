// Moves a group in a topic: where each queue goes is looked up first, so that a dry run shows it.
import { BrokerError } from '../../errors.ts'
import { REQUEST, RESPONSE } from '../../remoting/codes.ts'
import { writeFields } from '../../remoting/layout.ts'
import { UPDATE_OFFSET } from '../../remoting/requests/offsets.ts'
import { RESET_OFFSET } from '../../remoting/requests/reset.ts'
import { decodeTopicStats, TOPIC } from '../../remoting/requests/topics.ts'
import { type CallOptions, offsetByTime } from '../calls/calls.ts'
import { checkNames, KIND, type Kind } from '../calls/option-names.ts'
import { responseError } from '../calls/response-errors.ts'
import type { StartAt } from '../consume/start-offset.ts'
import type { Master, Masters } from './masters.ts'

/** Where a group goes on: from a place of every queue, or an offset of one. */
export type ResetPlace = StartAt | { readonly offset: number }

export interface OffsetReset {
  readonly group: string
  readonly topic: string
  readonly to: ResetPlace
  /** Only this queue; needed for an offset. */
  readonly queueId?: number | undefined
  /** Only this broker's queues. */
  readonly brokerName?: string | undefined
  /** Changes nothing. */
  readonly dryRun?: boolean | undefined
}

export interface ResetQueue {
  readonly brokerName: string
  readonly queueId: number
  /** -1: the group had no place there. */
  readonly from: number
  readonly to: number
}

const NAMES: Readonly<Record<keyof OffsetReset, Kind | true>> = {
  group: KIND.text,
  topic: KIND.text,
  to: true,
  queueId: KIND.number,
  brokerName: KIND.text,
  dryRun: KIND.flag,
}
/** RocketMQ's ends of time. */
const FIRST_MS = 0
const LAST_MS = -1
const EVERY_QUEUE = -1
const BY_TIME = -1

/** A group's place in a queue. */
interface Committed {
  readonly topic: string
  readonly brokerName: string
  readonly queueId: number
  readonly committedOffset: number
}

interface Move extends ResetQueue {
  readonly master: Master
}

/** `committed`: the group's places now. */
export async function resetOffsets(
  masters: Masters,
  reset: OffsetReset,
  committed: readonly Committed[],
  options: CallOptions,
): Promise<readonly ResetQueue[]> {
  checkReset(reset)
  const moves = await movesOf(masters, reset, committed, options)
  if (moves.length === 0) {
    const { topic, queueId, brokerName } = reset
    const broker =
      brokerName === undefined ? 'no broker has' : `there is no broker '${brokerName}' with`
    const queue = queueId === undefined ? 'a queue' : `a queue ${queueId}`
    throw new BrokerError('QUEUE_NOT_FOUND', `${broker} ${queue} of '${topic}'`)
  }
  if (reset.dryRun !== true) {
    for (const master of new Set(moves.map((move) => move.master))) {
      const own = moves.filter((move) => move.master === master)
      await moveOn(masters, master, reset, own, options)
    }
  }
  return moves.map(({ master: _, ...queue }) => queue)
}

function checkReset(reset: OffsetReset): void {
  checkNames('option of a reset', reset, NAMES)
  const { to, queueId } = reset
  if (queueId !== undefined) checkNumber('queueId', queueId)
  if (to === 'first' || to === 'last') return
  if (typeof to !== 'object' || to === null) {
    const text = `'to' is ${to}; 'first', 'last', { timestampMs } or { offset } is due`
    throw new BrokerError('ARGUMENT_INVALID', text)
  }
  if ('offset' in to) checkNumber('offset', to.offset)
  else checkNumber('timestampMs', to.timestampMs)
  if ('offset' in to && queueId === undefined) {
    throw new BrokerError('ARGUMENT_INVALID', 'an offset is a place of one queue: say which queue')
  }
}

function checkNumber(name: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= 0) return
  const text = `'${name}' is ${value}; a whole number from 0 on is due`
  throw new BrokerError('ARGUMENT_INVALID', text)
}

async function movesOf(
  masters: Masters,
  { topic, to, queueId, brokerName }: OffsetReset,
  committed: readonly Committed[],
  options: CallOptions,
): Promise<Move[]> {
  const asked = { ...options, fields: writeFields(TOPIC, { topic }) }
  const what = `the queues of '${topic}'`
  const answers = await masters.ask(REQUEST.getTopicStats, what, asked, RESPONSE.topicNotExist)
  if (answers.length === 0) {
    throw new BrokerError('TOPIC_NOT_FOUND', `no broker has the topic '${topic}'`)
  }
  const moves: Move[] = []
  for (const { name, address, response } of answers) {
    if (brokerName !== undefined && brokerName !== name) continue
    const master = { name, address }
    const connection = await masters.connection(address, options)
    for (const { queue, minOffset, maxOffset } of decodeTopicStats(response.body)) {
      if (queueId !== undefined && queueId !== queue.queueId) continue
      let place = to === 'first' ? minOffset : maxOffset
      if (typeof to === 'object') {
        place =
          'offset' in to
            ? to.offset
            : await offsetByTime(connection, queue, to.timestampMs, options)
      }
      if (place > maxOffset || (typeof to === 'object' && 'offset' in to && place < minOffset)) {
        throw new BrokerError(
          'OFFSET_OUT_OF_RANGE',
          `queue ${queue.queueId} of '${name}' reaches from ${minOffset} to ${maxOffset}; ${place} is not in it`,
        )
      }
      const at = committed.find(
        (one) => one.topic === topic && one.brokerName === name && one.queueId === queue.queueId,
      )
      const from = at?.committedOffset ?? -1
      moves.push({
        master,
        brokerName: name,
        queueId: queue.queueId,
        from,
        to: Math.max(place, minOffset),
      })
    }
  }
  return moves.sort((a, b) => a.brokerName.localeCompare(b.brokerName) || a.queueId - b.queueId)
}

/** The broker takes connected members there as well. */
async function moveOn(
  masters: Masters,
  master: Master,
  { group, topic, to, queueId }: OffsetReset,
  moves: readonly Move[],
  options: CallOptions,
): Promise<void> {
  const connection = await masters.connection(master.address, options)
  const isOffset = typeof to === 'object' && 'offset' in to
  const timestamp =
    typeof to === 'string'
      ? to === 'first'
        ? FIRST_MS
        : LAST_MS
      : isOffset
        ? FIRST_MS
        : to.timestampMs
  const fields = writeFields(RESET_OFFSET, {
    ...{ group, topic, timestamp, isForce: true },
    queueId: queueId ?? EVERY_QUEUE,
    offset: isOffset ? to.offset : BY_TIME,
  })
  const answer = await connection.request(REQUEST.resetOffset, { ...options, fields })
  if (answer.code === RESPONSE.success) return
  const doing = `resetting '${group}' in '${topic}' at ${master.address}`
  // A broker that leaves it to the members has none to ask.
  if (answer.code !== RESPONSE.consumerNotOnline) throw responseError(answer, doing)
  for (const move of moves) {
    const place = writeFields(UPDATE_OFFSET, {
      ...{ consumerGroup: group, topic, queueId: move.queueId, commitOffset: move.to },
    })
    const updated = await connection.request(REQUEST.updateConsumerOffset, {
      ...options,
      fields: place,
    })
    if (updated.code !== RESPONSE.success) throw responseError(updated, doing)
  }
}
