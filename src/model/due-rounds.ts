// A parked record that waits in rounds: when one is over it may be put off by whole periods, up to
// ROUNDS_MAX of them, and stays where it is. When it is due follows from the record and the number
// of rounds, so a record finds its entry in the due index again, and nothing else keeps track. A
// copy of it, made where the log lets go of the old place or where a wait is no whole number of
// periods, names the place that the first one had: by that its clients know it.
import { type LogPosition, logPosition } from './positions.ts'
import { PROPERTY } from './properties.ts'
import type { RecordView } from './record.ts'

/** Periods that one record may be put off by. */
export const ROUNDS_MAX = 64

export interface DueRounds {
  readonly periodMs: number
  /** Rounds that were over when the record was written. */
  readonly round: number
  /** Where the first record was; undefined: this is the first. */
  readonly firstPlace?: LogPosition | undefined
}

export const roundsText = ({ periodMs, round, firstPlace }: DueRounds): string =>
  firstPlace === undefined ? `${periodMs} ${round}` : `${periodMs} ${round} ${firstPlace}`

/** undefined: it waits once. */
export const roundsOf = (record: RecordView): DueRounds | undefined =>
  parseRounds(record.property(PROPERTY.dueRounds))

export function parseRounds(text: string | undefined): DueRounds | undefined {
  if (text === undefined) return undefined
  const [periodMs, round, firstPlace] = text.split(' ').map(Number)
  return {
    periodMs: periodMs!,
    round: round!,
    firstPlace: firstPlace === undefined ? undefined : logPosition(firstPlace),
  }
}

/** Rounds that are over when a record is due at this time. */
export function roundAt(record: RecordView, { periodMs, round }: DueRounds, dueMs: number): number {
  return round + Math.round((dueMs - Number(record.property(PROPERTY.dueMs))) / periodMs)
}

/** Of a copy that is written while the record is due at this time. */
export function roundsOfCopy(record: RecordView, dueMs: number): DueRounds | undefined {
  const rounds = roundsOf(record)
  if (rounds === undefined) return undefined
  const { periodMs, firstPlace = record.position } = rounds
  return { periodMs, round: roundAt(record, rounds, dueMs), firstPlace }
}
