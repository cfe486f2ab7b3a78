// The epochs of the log and where each began, in memory and in a file beside the segments, which
// outlives the segments that it is about:
//
//   log ID to POSITION          everything that began before the position is in it
//   EPOCH POSITION SUM          one line each, ascending; SUM is "-" where it is not known
//   crc SUM
//
// The frames say the same, so the file may be behind: what began since is found in the last
// segment, which recovery reads, and a new one is begun only once the file has what began before.
import type { Logger } from '../../../log.ts'
import { crc32 } from '../../../model/crc32.ts'
import { logPosition } from '../../../model/positions.ts'
import { type Disk, errorCode, readFile, replaceFile } from '../../disk/disk.ts'
import type { EpochStart } from './history.ts'

const NAME = 'epochs'
/** The newest are kept. Each start of a master begins one: three years of one a day. */
export const EPOCHS_MAX = 1024
const FILE_PATTERN = /^(log (\d{1,10}) to (\d{1,16})\n([0-9 \n-]*))crc (\d{1,10})\n$/
const LINE_PATTERN = /^(\d{1,10}) (\d{1,16}) (\d{1,10}|-)$/

/** What recovery saw of the end of the log. */
export interface SeenEpochs {
  readonly logId: number | undefined
  readonly end: number
  /** Where it began to look, */
  readonly from: number
  /** and the first frame of each epoch that it found from there on. */
  readonly epochs: readonly EpochStart[]
}

interface Saved {
  readonly logId: number
  readonly to: number
  readonly starts: readonly EpochStart[]
}

export class EpochHistory {
  readonly #disk: Disk
  readonly #directory: string
  readonly #log: Logger
  #logId = 0
  #starts: EpochStart[] = []
  #saved: Saved | undefined

  constructor(disk: Disk, directory: string, log: Logger) {
    this.#disk = disk
    this.#directory = directory
    this.#log = log
  }

  /** Takes in the file, and what it does not have yet. */
  open({ logId = 0, end, from, epochs }: SeenEpochs): void {
    this.#logId = logId
    this.#saved = read(this.#disk, this.#directory)
    const saved = this.#saved?.logId === logId ? this.#saved : undefined
    this.#starts = (saved?.starts ?? []).filter(({ position }) => position < end)
    let isGap = from > 0 && (saved === undefined || saved.to < from)
    for (const start of epochs) {
      if (start.epoch <= this.newest) continue
      // Others may have begun before it, and ended.
      if (isGap) this.#starts = []
      this.#starts.push(isGap ? { ...start, sum: undefined } : start)
      isGap = false
    }
    this.#bound()
  }

  /** The newest epoch that has a frame; 0: none. */
  get newest(): number {
    return this.#starts.at(-1)?.epoch ?? 0
  }

  /** A frame of this epoch comes next: if it is the first one, this is where it begins. */
  take(epoch: number, position: number, sum: number): void {
    if (epoch === this.newest) return
    const isKnown = this.#starts.length > 0 || position === 0
    this.#starts.push({ epoch, position: logPosition(position), sum: isKnown ? sum : undefined })
    this.#bound()
  }

  /** What began there or later is void. */
  rewind(end: number): void {
    while ((this.#starts.at(-1)?.position ?? -1) >= end) this.#starts.pop()
  }

  /** What began before the position, where everything is synced. */
  before(position: number): readonly EpochStart[] {
    return this.#starts.filter((start) => start.position < position)
  }

  /**
   * Writing goes on at the end: from here on the file says nothing of what was there before and is
   * void. @throws errors of the disk, if it would
   */
  settle(logId: number, end: number): void {
    this.#logId = logId
    const saved = this.#saved
    const isStale = saved !== undefined && (saved.logId !== logId || saved.to > end)
    if (!isStale && saved?.to === end) return
    if (this.#write(end) || !isStale) return
    this.#disk.remove(`${this.#directory}/${NAME}`)
    this.#disk.syncDirectory(this.#directory)
    this.#saved = undefined
  }

  /** Writes what began before the position, where everything is synced, if anything did. */
  save(syncedTo: number): void {
    const began = this.#starts.findLast(({ position }) => position < syncedTo)
    if (began !== undefined && began.position >= (this.#saved?.to ?? 0)) this.#write(syncedTo)
  }

  /** The same, and that nothing did. */
  saveTo(syncedTo: number): void {
    if (syncedTo > (this.#saved?.to ?? 0)) this.#write(syncedTo)
  }

  #write(to: number): boolean {
    const saved = { logId: this.#logId, to, starts: this.before(to) }
    try {
      replaceFile(this.#disk, this.#directory, NAME, bytesOf(saved))
      this.#saved = saved
      return true
    } catch (error) {
      if (errorCode(error) === undefined) throw error
      const text = `Where the epochs of the log began could not be noted: ${String(error)}.`
      this.#log.warn({ evt: 'log.epochs_not_noted', code: errorCode(error) }, text)
      return false
    }
  }

  #bound(): void {
    if (this.#starts.length > EPOCHS_MAX) this.#starts = this.#starts.slice(-EPOCHS_MAX)
  }
}

function bytesOf({ logId, to, starts }: Saved): Buffer {
  const lines = starts.map(({ epoch, position, sum }) => `${epoch} ${position} ${sum ?? '-'}\n`)
  const text = `log ${logId} to ${to}\n${lines.join('')}`
  return Buffer.from(`${text}crc ${crc32(Buffer.from(text, 'latin1'))}\n`, 'latin1')
}

/** undefined when there is none, or none that checks. */
function read(disk: Disk, directory: string): Saved | undefined {
  const match = readFile(disk, directory, NAME)?.toString('latin1').match(FILE_PATTERN)
  if (!match || crc32(Buffer.from(match[1]!, 'latin1')) !== Number(match[5])) return undefined
  const starts: EpochStart[] = []
  for (const line of match[4]!.split('\n').slice(0, -1)) {
    const [, epoch, position, sum] = line.match(LINE_PATTERN) ?? []
    if (epoch === undefined) return undefined
    const at = logPosition(Number(position))
    starts.push({ epoch: Number(epoch), position: at, sum: sum === '-' ? undefined : Number(sum) })
  }
  return { logId: Number(match[2]), to: Number(match[3]), starts }
}
