// What a slave and its master say to each other: RocketMQ's frames around requests of our own, on a
// port of their own. A slave says which it is (HELLO), asks for what comes next and is answered
// when there is something (FETCH), and says how far its disk is (with each FETCH, and by CONFIRM).
import { BrokerError, ERROR_CODES, type ErrorCode } from '../errors.ts'
import { logPosition } from '../model/positions.ts'
import { RESPONSE } from '../remoting/codes.ts'
import type { Command } from '../remoting/command.ts'
import { parseJson } from '../remoting/json/json.ts'
import { jsonBody } from '../remoting/json/json-emitter.ts'
import { int, layout, long, optional, text } from '../remoting/layout.ts'
import type { Answer } from '../remoting/serving/connection.ts'
import type { EpochStart } from '../store/log/epochs/history.ts'

export const REPLICATION_REQUEST = {
  hello: 917_001,
  fetch: 917_002,
  confirm: 917_003,
  read: 917_004,
} as const

/** Grows with every change that an older peer would misread. */
export const WIRE_VERSION = 1

/** The epochs of a log, in the body of the answer to HELLO. */
export const encodeEpochs = (epochs: readonly EpochStart[]): Buffer =>
  jsonBody(epochs.map(({ epoch, position, sum }) => [epoch, position, sum ?? null]))

/** @throws BrokerError PROTOCOL_ERROR */
export function decodeEpochs(body: Buffer): readonly EpochStart[] {
  const epochs = parseJson(body.toString())
  if (!Array.isArray(epochs)) throw badEpochs()
  return epochs.map((entry: unknown) => {
    if (!Array.isArray(entry) || entry.length !== 3) throw badEpochs()
    const [epoch, position, sum] = entry as unknown[]
    if (!isWhole(epoch) || !isWhole(position) || !(sum === null || isWhole(sum))) throw badEpochs()
    return { epoch, position: logPosition(position), sum: sum ?? undefined }
  })
}

const isWhole = (value: unknown): value is number => Number.isSafeInteger(value)
const badEpochs = (): BrokerError =>
  new BrokerError('PROTOCOL_ERROR', 'the master told its epochs in another form')

/** Of the slave's last bytes, which its master must have too: compared by their sum. */
export const CHECKED_BYTES_MAX = 64 * 1024

export const HELLO = layout({
  version: int,
  clusterName: text,
  brokerName: text,
  brokerId: int,
  /** Absent: of an empty slave, which takes whatever log its master has. */
  logId: optional(long),
  epoch: optional(int),
  /** What the slave has of the log, synced. */
  end: optional(long),
  /** Where masters are elected: its name as a copy, and the election whose master it follows. */
  copy: optional(text),
  election: optional(int),
})

export const HELLO_ANSWER = layout({
  version: int,
  logId: long,
  epoch: int,
  logStart: long,
  logEnd: long,
})

export const FETCH = layout({
  from: long,
  /** Everything before is on the slave's disk. */
  synced: long,
  waitMs: int,
  /** With the first FETCH: `check` is the sum of the slave's bytes from there to `from`. */
  checkFrom: optional(long),
  check: optional(long),
})

/** What stands at a position, for a copy whose disk lost it. Checked as with FETCH. */
export const READ = layout({
  from: long,
  checkFrom: optional(long),
  check: optional(long),
})

export const FETCH_ANSWER = layout({
  from: long,
  logStart: long,
  logEnd: long,
  confirmed: optional(long),
})

export const CONFIRM = layout({ synced: long })

const ERROR_FIELD = 'error'

/** Our own code goes with it, so that the slave knows what to do about it. */
export function refusal(thrown: unknown): Answer {
  const { code, message } = BrokerError.from(thrown)
  const answer =
    code === 'UNAUTHENTICATED' || code === 'PERMISSION_DENIED' ? 'noPermission' : 'systemError'
  return { code: RESPONSE[answer], remark: message, fields: new Map([[ERROR_FIELD, code]]) }
}

/** @throws BrokerError what the master refused with */
export function checkAnswer({ code, fields, remark }: Command): void {
  if (code === RESPONSE.success) return
  const name = fields.get(ERROR_FIELD)
  const known = ERROR_CODES.find((one) => one === name) as ErrorCode | undefined
  const text = remark ?? `the master refused with code ${code}`
  throw new BrokerError(known ?? 'PROTOCOL_ERROR', text)
}
