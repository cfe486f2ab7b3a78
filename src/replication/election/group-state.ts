// What the copies of one log have agreed on. It is kept by a coordinator, is changed by
// compare-and-set alone, and is relied on only once it is kept.

/** A name that no other copy of the log has. */
export type CopyName = string

export interface GroupState {
  /** Counts the elections. */
  readonly election: number
  /** The winner of the newest one. It may be gone. */
  readonly master: CopyName
  /** Each of them has everything that was acknowledged: no other copy becomes master. */
  readonly inSync: readonly CopyName[]
}

/** A copy that is alive, and how far its log is. */
export interface Candidate {
  readonly name: CopyName
  /** Of its newest frame. */
  readonly epoch: number
  readonly end: number
  /** Its disk has lost some of the log, or failed: another copy is asked first. */
  readonly isDamaged?: boolean
  /** Its disk takes nothing just now, or until the log is opened anew. */
  readonly disk?: 'full' | 'failed' | undefined
  /** Where it is reached as the master. */
  readonly addresses?: CopyAddresses | undefined
}

/** host:port each. */
export interface CopyAddresses {
  /** Of copies that follow it. */
  readonly replication: string
  readonly mqtt?: string | undefined
  readonly amqp?: string | undefined
}

/** An election has so many epochs of the log: a master begins one whenever its disk comes back. */
const EPOCHS_PER_ELECTION = 1024
/** An epoch has 32 bits. */
const ELECTIONS_MAX = 2 ** 32 / EPOCHS_PER_ELECTION - 1
/** In sync. */
export const COPIES_MAX = 16

export const firstEpochOf = (election: number): number => election * EPOCHS_PER_ELECTION
export const electionOf = (epoch: number): number => Math.floor(epoch / EPOCHS_PER_ELECTION)

/** The better one first: a whole log, then one with more of a newer epoch, then a longer one. */
export const byLog = (one: Candidate, other: Candidate): number =>
  Number(one.isDamaged === true) - Number(other.isDamaged === true) ||
  other.epoch - one.epoch ||
  other.end - one.end ||
  (one.name < other.name ? -1 : 1)

export function encodeState({ election, master, inSync }: GroupState): string {
  return JSON.stringify({ election, master, inSync })
}

/** undefined: this is none of ours, or of a later version. */
export function decodeState(text: string): GroupState | undefined {
  const state = parsed(text)
  if (state === undefined) return undefined
  const { election, master, inSync } = state
  const isCount = Number.isInteger(election) && Number(election) >= 1
  if (!isCount || Number(election) > ELECTIONS_MAX || typeof master !== 'string') return undefined
  if (!Array.isArray(inSync) || inSync.length === 0 || inSync.length > COPIES_MAX) return undefined
  if (!inSync.every((name) => typeof name === 'string')) return undefined
  return { election: Number(election), master, inSync }
}

export const encodeCandidate = ({ epoch, end, isDamaged, disk, addresses }: Candidate): string =>
  JSON.stringify({ epoch, end, isDamaged, disk, addresses })

export function decodeCandidate(name: CopyName, text: string): Candidate | undefined {
  const { epoch, end, isDamaged, disk, addresses } = parsed(text) ?? {}
  if (!Number.isSafeInteger(epoch) || !Number.isSafeInteger(end)) return undefined
  return {
    ...{ name, epoch: Number(epoch), end: Number(end), isDamaged: isDamaged === true },
    disk: disk === 'full' || disk === 'failed' ? disk : undefined,
    addresses: decodeAddresses(addresses),
  }
}

function decodeAddresses(told: unknown): CopyAddresses | undefined {
  if (told === null || typeof told !== 'object') return undefined
  const { replication, mqtt, amqp } = told as Readonly<Record<string, unknown>>
  if (typeof replication !== 'string') return undefined
  const text = (value: unknown) => (typeof value === 'string' ? value : undefined)
  return { replication, mqtt: text(mqtt), amqp: text(amqp) }
}

function parsed(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return value !== null && typeof value === 'object' ? { ...value } : undefined
  } catch {
    return undefined
  }
}
