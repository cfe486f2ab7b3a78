// The segments of the log as a list: which file holds a position, reading across them, removing the
// oldest. A segment is named by the position of its first byte, and ends where the next one starts:
// what lies in the file beyond that was never acknowledged or is zero fill.
import { type LogPosition, logPosition } from '../../model/positions.ts'
import type { Disk, DiskFile } from '../disk/disk.ts'

/** Descriptors kept open for reading. */
const READ_FILES_MAX = 64
const NAME_DIGITS = 20
const NAME_PATTERN = /^\d{20}$/

export interface Segment {
  readonly start: LogPosition
  readonly name: string
  readonly path: string
  /** Size of the file, zero fill included. */
  fileBytes: number
}

interface Place {
  readonly file: DiskFile
  readonly offset: number
  readonly size: number
}

export const segmentName = (start: number): string => String(start).padStart(NAME_DIGITS, '0')

export class Segments {
  readonly #disk: Disk
  readonly #directory: string
  /** Ascending. */
  readonly #list: Segment[] = []
  /** By start, least recently used first. */
  readonly #files = new Map<number, DiskFile>()
  /** The one used last, which most reads want again. */
  #lastFile: DiskFile | undefined
  #lastStart = -1

  constructor(disk: Disk, directory: string) {
    this.#disk = disk
    this.#directory = directory
  }

  /** Takes in what the directory has. */
  load(): void {
    for (const name of this.#disk.list(this.#directory).sort()) {
      if (!NAME_PATTERN.test(name)) continue
      const segment = this.add(Number(name), 0)
      segment.fileBytes = this.#file(segment).size()
    }
  }

  /** Registers a file that exists already or is about to. */
  add(start: number, fileBytes: number): Segment {
    const name = segmentName(start)
    const path = `${this.#directory}/${name}`
    const segment: Segment = { start: logPosition(start), name, path, fileBytes }
    this.#list.splice(this.indexOf(start) + 1, 0, segment)
    return segment
  }

  get list(): readonly Segment[] {
    return this.#list
  }

  get last(): Segment | undefined {
    return this.#list.at(-1)
  }

  get fileBytes(): number {
    let sum = 0
    for (const segment of this.#list) sum += segment.fileBytes
    return sum
  }

  /** Index of the segment that holds the position; -1 before the first. */
  indexOf(position: number): number {
    let low = 0
    let high = this.#list.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (this.#list[middle]!.start <= position) low = middle + 1
      else high = middle
    }
    return low - 1
  }

  /** Where the segment of this index ends; `logEnd` for the last. */
  endOf(index: number, logEnd: number): number {
    return this.#list[index + 1]?.start ?? logEnd
  }

  /** Bytes read, across segments; fewer than asked where the files end. */
  readSync(target: Uint8Array, at: number, position: number, size: number): number {
    let done = 0
    while (done < size) {
      const place = this.#placeOf(position + done, size - done)
      if (place === undefined) break
      const read = place.file.read(target, at + done, place.size, place.offset)
      if (read === 0) break
      done += read
    }
    return done
  }

  /** The same in the thread pool. */
  async read(target: Uint8Array, at: number, position: number, size: number): Promise<number> {
    let done = 0
    while (done < size) {
      const place = this.#placeOf(position + done, size - done)
      if (place === undefined) break
      const read = await readLater(place.file, target, at + done, place.size, place.offset)
      if (read === 0) break
      done += read
    }
    return done
  }

  /** Forgets the oldest segment. @returns the path of its file, which is left */
  dropFirst(): string | undefined {
    const segment = this.#list.shift()
    if (segment !== undefined) this.#forget(segment.start)
    return segment?.path
  }

  /**
   * Forgets the segments that end at the position or before.
   * @returns the paths of their files, which are left
   */
  dropBefore(position: number): string[] {
    const paths: string[] = []
    while (this.#list.length > 1 && this.#list[1]!.start <= position) paths.push(this.dropFirst()!)
    return paths
  }

  /**
   * Forgets the segments that start beyond the position.
   * @returns the paths of their files, which are left, newest first
   */
  dropBeyond(position: number): string[] {
    const paths: string[] = []
    while ((this.#list.at(-1)?.start ?? -1) > position) {
      const segment = this.#list.pop()!
      this.#forget(segment.start)
      paths.push(segment.path)
    }
    return paths
  }

  /** The last segment got another file under its name. */
  replaceLast(fileBytes: number): Segment {
    const segment = this.#list.at(-1)!
    this.#forget(segment.start)
    segment.fileBytes = fileBytes
    return segment
  }

  close(): void {
    for (const start of [...this.#files.keys()]) this.#forget(start)
  }

  /** Where in which file the bytes lie, as far as they lie in one. */
  #placeOf(position: number, size: number): Place | undefined {
    const index = this.indexOf(position)
    const segment = this.#list[index]
    if (segment === undefined) return undefined
    const inSegment = this.endOf(index, Number.MAX_SAFE_INTEGER) - position
    return {
      file: this.#file(segment),
      offset: position - segment.start,
      size: Math.min(size, inSegment),
    }
  }

  #file(segment: Segment): DiskFile {
    if (this.#lastFile !== undefined && this.#lastStart === segment.start) return this.#lastFile
    let file = this.#files.get(segment.start)
    if (file === undefined) {
      file = this.#disk.open(segment.path, 'read')
      if (this.#files.size >= READ_FILES_MAX) this.#forget(this.#files.keys().next().value!)
    } else {
      this.#files.delete(segment.start)
    }
    this.#files.set(segment.start, file)
    this.#lastFile = file
    this.#lastStart = segment.start
    return file
  }

  #forget(start: number): void {
    this.#lastFile = undefined
    this.#files.get(start)?.close()
    this.#files.delete(start)
  }
}

function readLater(
  file: DiskFile,
  target: Uint8Array,
  at: number,
  size: number,
  offset: number,
): Promise<number> {
  return new Promise((resolve, reject) => {
    file.readLater(target, at, size, offset, (error, read) =>
      error === null ? resolve(read) : reject(error),
    )
  })
}
