// Where the log starts, in a small file beside the segments: retention writes it before a segment
// goes, so that one that is missing without a word is seen as lost and not taken for retention. Two
// slots are written in turn and in place, which needs no room on a full disk; of the whole ones the
// greater holds.
//
//   at 0 and at 512:  "first POSITION crc SUM", the rest zeros
import { crc32 } from '../../model/crc32.ts'
import { logPosition } from '../../model/positions.ts'
import { type Disk, type DiskFile, readFile, replaceFile, shortWrite } from '../disk/disk.ts'
import type { DamagedRange } from './commit-log.ts'
import { type Segments, segmentName } from './segments.ts'

const NAME = 'first'
const SLOT_BYTES = 512
const SLOTS = 2
const PATTERN = /^(first (\d{1,16})) crc (\d{1,10})\n/

type Done = (error: Error | null) => void

export class LogStart {
  readonly #disk: Disk
  readonly #directory: string
  /** undefined: nothing says it. */
  #position: number | undefined
  /** The slot that is written next. */
  #slot = 0
  /**
   * Bytes that a killed process wrote and did not sync can be read, and are gone after a power cut.
   */
  #isDurable = false
  /** The file may be there although it could not be made durable. */
  #isUncertain = false

  /**
   * Reads the file, or makes it for the segments that are there.
   * @throws the disk's errors but for a lack of room
   */
  constructor(disk: Disk, directory: string) {
    this.#disk = disk
    this.#directory = directory
    const bytes = readFile(disk, directory, NAME)
    for (let slot = 0; slot < SLOTS; slot++) {
      const position = bytes && slotOf(bytes, slot)
      if (position === undefined || position < (this.#position ?? 0)) continue
      this.#position = position
      // The other slot is durable for sure, and stays until this one is.
      this.#slot = slot
    }
  }

  get position(): number | undefined {
    return this.#position
  }

  /** The lost beginning of the log: from where it must start to the oldest segment. */
  missingBefore({ list: [oldest] }: Segments): DamagedRange | undefined {
    const from = this.#position
    if (oldest === undefined || from === undefined || from >= oldest.start) return undefined
    const reason = 'the oldest segment is missing, and retention did not remove it'
    return { from: logPosition(from), to: oldest.start, segment: segmentName(from), reason }
  }

  /** Says it for a log that nothing says it of: a new one, or one of an earlier version. */
  begin(position: number): void {
    if (this.#position !== undefined) return
    const bytes = Buffer.alloc(SLOTS * SLOT_BYTES)
    slotBytes(position).copy(bytes)
    this.#isUncertain = true
    replaceFile(this.#disk, this.#directory, NAME, bytes)
    this.#isUncertain = false
    this.#position = position
    this.#slot = 1
    this.#isDurable = true
  }

  #beginAgain(position: number): Error | null {
    try {
      this.begin(position)
      return null
    } catch (error) {
      return error as Error
    }
  }

  /** From here on what is before the position may be missing. In the thread pool. */
  moveTo(position: number, done: Done): void {
    if (this.#isUncertain) {
      done(this.#beginAgain(position))
      return
    }
    const said = this.#position
    // Where nothing is said nothing is missed.
    if (said === undefined || (position <= said && this.#isDurable)) {
      done(null)
      return
    }
    const next = Math.max(position, said)
    let file: DiskFile
    try {
      file = this.#disk.open(`${this.#directory}/${NAME}`, 'write')
    } catch (error) {
      done(error as Error)
      return
    }
    const end: Done = (error) => {
      file.close()
      if (error === null) {
        this.#position = next
        this.#slot = (this.#slot + 1) % SLOTS
        this.#isDurable = true
      }
      done(error)
    }
    file.writeLater(slotBytes(next), 0, SLOT_BYTES, this.#slot * SLOT_BYTES, (error, written) => {
      if (error !== null) end(error)
      else if (written < SLOT_BYTES) end(shortWrite(file.path, SLOT_BYTES, written))
      else file.syncLater(end)
    })
  }
}

function slotOf(bytes: Buffer, slot: number): number | undefined {
  const match = bytes.toString('latin1', slot * SLOT_BYTES, (slot + 1) * SLOT_BYTES).match(PATTERN)
  if (!match || crc32(Buffer.from(match[1]!, 'latin1')) !== Number(match[3])) return undefined
  return Number(match[2])
}

function slotBytes(position: number): Buffer {
  const bytes = Buffer.alloc(SLOT_BYTES)
  const text = `first ${position}`
  bytes.write(`${text} crc ${crc32(Buffer.from(text, 'latin1'))}\n`, 'latin1')
  return bytes
}
