// A message that a group was given and has not settled: its state, holder and deadline. Plain
// state; the group's queue moves it on.
import type { QueueOffset } from '../../../model/positions.ts'

/** The states of an unsettled message. */
export const ENTRY_STATE = {
  /** To be handed out (again). */
  ready: 0,
  /** With a consumer until its invisible time is over. */
  inFlight: 1,
  /** Waits in place for its next attempt. */
  parked: 2,
  /** A copy for the retry or dead-letter topic is due; it settles with the copy's append. */
  leaving: 3,
  /** Its copy's append is under way. */
  left: 4,
  settled: 5,
} as const

export type EntryState = (typeof ENTRY_STATE)[keyof typeof ENTRY_STATE]

/** Of a message that an earlier process left unsettled and that was not read again yet. */
export const OWNER_UNKNOWN = ''

/** A consumer, as far as what it holds is concerned. */
export interface Holder {
  readonly id: string
  /** Messages of the group that are with it. */
  held: number
  /**
   * The message that it is believed to be working on: the one it was handed first, of those it held
   * when it lost one. Until it settles a message, no other message counts a failed attempt because
   * of it.
   */
  suspect: Entry | undefined
}

export interface Entry {
  readonly offset: QueueOffset
  /** The topic whose consumers get it: this queue's, or in a retry topic the original one. */
  owner: string
  /** Bytes of the record. */
  size: number
  /** Failed deliveries that the record itself carries. */
  reconsumeTimes: number
  /** Failed deliveries in place, on top of those. */
  attempts: number
  state: EntryState
  /** Of the latest delivery; 0 = none that could still be settled. */
  serial: number
  /** Of the latest delivery. */
  holder: Holder | undefined
  /** Ids of consumers that must not be given it again. */
  notFor: string[] | undefined
  /** The note of earlier consumers for the next one. */
  note: string | undefined
  /** Monotonic end of the invisible time, or of being parked. */
  deadlineMs: number
  /** Handed out in order: it waits in place rather than in the retry topic. */
  isOrdered: boolean
  /** The name of the latest delivery, when that was a POP; else 0. */
  poppedAt: number
  /** The end of its time counts no attempt. */
  isSuspended: boolean
}

/** The message that a consumer was handed first, of all that it holds. */
export interface FirstHeld {
  readonly entry: Entry
  /** Of the delivery. */
  readonly serial: number
}

export const isStillHeld = ({ entry, serial }: FirstHeld, holder: Holder): boolean =>
  entry.holder === holder && entry.serial === serial && entry.state === ENTRY_STATE.inFlight

export const newEntry = (
  offset: QueueOffset,
  owner: string,
  size: number,
  reconsumeTimes: number,
): Entry => ({
  offset,
  owner,
  size,
  reconsumeTimes,
  attempts: 0,
  state: ENTRY_STATE.parked,
  serial: 0,
  holder: undefined,
  notFor: undefined,
  note: undefined,
  deadlineMs: 0,
  isOrdered: false,
  poppedAt: 0,
  isSuspended: false,
})

export const hasDeadline = ({ state }: Entry): boolean =>
  state === ENTRY_STATE.inFlight || state === ENTRY_STATE.parked

/** Is its time over? */
export const isDue = (entry: Entry, nowMs: number): boolean =>
  hasDeadline(entry) && entry.deadlineMs <= nowMs
