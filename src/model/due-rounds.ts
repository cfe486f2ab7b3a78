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
  const roundAt = text.indexOf(' ') + 1
  const placeAt = text.indexOf(' ', roundAt) + 1
  return {
    periodMs: Number(text.slice(0, roundAt)),
    round: Number(placeAt === 0 ? text.slice(roundAt) : text.slice(roundAt, placeAt)),
    firstPlace: placeAt === 0 ? undefined : logPosition(Number(text.slice(placeAt))),
  }
}

/** Rounds that are over when a record that was due first at `firstMs` is due at this time. */
export function roundAt(firstMs: number, { periodMs, round }: DueRounds, dueMs: number): number {
  return round + Math.round((dueMs - firstMs) / periodMs)
}

/** Of a copy that is written while the record is due at this time. */
export function roundsOfCopy(record: RecordView, dueMs: number): DueRounds | undefined {
  const rounds = roundsOf(record)
  if (rounds === undefined) return undefined
  const { periodMs, firstPlace = record.position } = rounds
  const firstMs = Number(record.property(PROPERTY.dueMs))
  return { periodMs, round: roundAt(firstMs, rounds, dueMs), firstPlace }
}
