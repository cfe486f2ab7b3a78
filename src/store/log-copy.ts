// A copy of the log of a broker that runs, or of one that is stopped. Segments are only ever
// appended to, so what is before an end that was told first can be copied while more is written.
// docs/operate/backup.md says what a copy needs.
import { resolve, sep } from 'node:path'
import { nextTurn } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import { LAYOUT_FILE } from './disk/data-directory.ts'
import { type Disk, errorCode, readFile, replaceFile, writeAll } from './disk/disk.ts'
import { readEpochMarker } from './log/epochs/epoch-marker.ts'
import { FrameScan } from './log/frame-scan.ts'
import { type Segment, Segments } from './log/segments.ts'

export interface CopyOptions {
  readonly disk: Disk
  /** The data directory of a broker. */
  readonly from: string
  /** A directory that is made, or is empty. */
  readonly to: string
  /**
   * Asked once the files that say where the log begins are read: everything before it is in the
   * copy. undefined: the broker is stopped, and all of the log is copied.
   */
  readonly end: (() => Promise<number>) | undefined
  readonly signal: AbortSignal
  moved(step: 'copy' | 'verify', done: number, of: number): void
}

export interface CopiedLog {
  readonly segments: number
  readonly bytes: number
  /** Bytes in which no whole frame is: the original is damaged there. */
  readonly damagedBytes: number
}

/** Small files that say where the log begins, and what is known of its end and of its epochs. */
const MARKERS = ['first', 'epoch', 'epochs'] as const
const PIECE_BYTES = 1024 * 1024

interface Part extends Segment {
  /** How much of the file is copied. */
  readonly bytes: number
}

/**
 * Copies, makes it durable, and reads the copy again: every frame is checked.
 * @throws BrokerError ARGUMENT_INVALID for a wrong directory; BUSY when a segment was removed
 * before it was copied, or the log was opened again: the copy is of no use; the signal's reason
 */
export async function copyLog(options: CopyOptions): Promise<CopiedLog> {
  try {
    return await copyAndCheck(options)
  } catch (cause) {
    // What the system says of a full disk or of rights is no defect.
    if (cause instanceof BrokerError || typeof errorCode(cause) !== 'string') throw cause
    const text = `the copy in '${options.to}' is not whole; remove it and try again: ${(cause as Error).message}`
    throw new BrokerError('READ_ONLY', text, { cause })
  }
}

async function copyAndCheck(options: CopyOptions): Promise<CopiedLog> {
  const { disk, from, to } = options
  const [log, copy] = [`${from}/log`, `${to}/log`]
  const layout = layoutOf(disk, from)
  if (`${resolve(to)}${sep}`.startsWith(`${resolve(from)}${sep}`)) {
    const text = `'${to}' is in the data directory itself; name one beside it, on another disk if you can`
    throw new BrokerError('ARGUMENT_INVALID', text)
  }
  makeEmpty(disk, to)
  const markers = markersOf(disk, log)
  const life = lifeOf(disk, log)
  const end = await options.end?.()
  const parts = unlessGone(to, () => partsOf(disk, log, end))
  // What was removed since is not listed, and what lived in it was appended again, behind the end.
  if (startOf(disk, log) !== startIn(markers)) throw useless(to)
  disk.makeDirectory(copy)
  const of = parts.reduce((sum, { bytes }) => sum + bytes, 0)
  let done = 0
  for (const part of parts) {
    await copyPart(options, part, `${copy}/${part.name}`, (bytes) => {
      done += bytes
      options.moved('copy', done, of)
    })
  }
  for (const [name, bytes] of markers) if (bytes) replaceFile(disk, copy, name, bytes)
  disk.syncDirectory(copy)
  if (lifeOf(disk, log) !== life) throw useless(to)
  // Without it no broker starts on the copy.
  replaceFile(disk, to, LAYOUT_FILE, layout)
  const damagedBytes = await verify(options, copy, parts, end)
  return { segments: parts.length, bytes: of, damagedBytes }
}

function layoutOf(disk: Disk, from: string): Buffer {
  const layout = listed(disk, from)?.includes('log') ? readFile(disk, from, LAYOUT_FILE) : undefined
  if (layout !== undefined) return layout
  const text = `'${from}' is no data directory of TrivetMQ: it has no '${LAYOUT_FILE}' and 'log'`
  throw new BrokerError('ARGUMENT_INVALID', text)
}

function makeEmpty(disk: Disk, to: string): void {
  if ((listed(disk, to) ?? []).length > 0) {
    throw new BrokerError('ARGUMENT_INVALID', `'${to}' is not empty; name a new directory`)
  }
  try {
    disk.makeDirectory(to)
  } catch (cause) {
    const text = `'${to}' cannot be made (${errorCode(cause)}); name a directory that this user may write`
    throw new BrokerError('ARGUMENT_INVALID', text, { cause })
  }
}

function listed(disk: Disk, directory: string): readonly string[] | undefined {
  try {
    return disk.list(directory)
  } catch {
    return undefined
  }
}

const markersOf = (disk: Disk, log: string): readonly (readonly [string, Buffer | undefined])[] =>
  MARKERS.map((name) => [name, readFile(disk, log, name)])

/** Retention writes it before it removes a segment. */
const startOf = (disk: Disk, log: string): string | undefined =>
  readFile(disk, log, 'first')?.toString('latin1')

const startIn = (markers: ReturnType<typeof markersOf>): string | undefined =>
  markers.find(([name]) => name === 'first')?.[1]?.toString('latin1')

/** Another one when the log is opened again. How far it is synced may be noted at any time. */
function lifeOf(disk: Disk, log: string): string {
  const { epoch, logId, end } = readEpochMarker(disk, log) ?? {}
  return JSON.stringify([epoch, logId, end])
}

const useless = (to: string): BrokerError =>
  new BrokerError(
    'BUSY',
    `the log was cut or the broker was started again while it was copied; remove '${to}' and try again`,
  )

/** @throws BrokerError ARGUMENT_INVALID when the log does not end there: it is of another broker */
function partsOf(disk: Disk, log: string, told: number | undefined): readonly Part[] {
  const segments = new Segments(disk, log)
  segments.load()
  segments.close()
  const { list, last } = segments
  const fileEnd = last === undefined ? 0 : last.start + last.fileBytes
  if (told !== undefined && (told > fileEnd || told < (list[0]?.start ?? 0))) {
    const text = `the broker says that its log ends at ${told}, and the one in '${log}' does not: it is of another broker; say with --broker host:port whose data it is`
    throw new BrokerError('ARGUMENT_INVALID', text)
  }
  const end = told ?? readEpochMarker(disk, log)?.end ?? fileEnd
  return list.flatMap((segment, index) => {
    const bytes = Math.min(
      segment.fileBytes,
      segments.endOf(index, end) - segment.start,
      end - segment.start,
    )
    return bytes > 0 ? [{ ...segment, bytes }] : []
  })
}

/** Retention may remove a segment at any time. @throws BrokerError BUSY */
function unlessGone<T>(to: string, look: () => T): T {
  try {
    return look()
  } catch (error) {
    throw errorCode(error) === 'ENOENT' ? useless(to) : error
  }
}

async function copyPart(
  { disk, signal, to }: CopyOptions,
  { path, bytes }: Part,
  target: string,
  moved: (bytes: number) => void,
): Promise<void> {
  // Once it is open it may be removed: its bytes stay.
  const source = unlessGone(to, () => disk.open(path, 'read'))
  try {
    const file = disk.create(target)
    try {
      const piece = Buffer.allocUnsafe(PIECE_BYTES)
      for (let at = 0; at < bytes; ) {
        signal.throwIfAborted()
        const read = source.read(piece, 0, Math.min(piece.length, bytes - at), at)
        if (read === 0) throw new BrokerError('STORE_CORRUPT', `'${path}' is shorter than it was`)
        writeAll(file, piece, 0, read, at)
        at += read
        moved(read)
        await nextTurn()
      }
      file.sync()
    } finally {
      file.close()
    }
  } finally {
    source.close()
  }
}

/** @returns how many bytes are in no whole frame */
async function verify(
  { disk, signal, moved }: CopyOptions,
  copy: string,
  parts: readonly Part[],
  told: number | undefined,
): Promise<number> {
  const of = parts.reduce((sum, { bytes }) => sum + bytes, 0)
  let done = 0
  let damaged = 0
  for (const { start, name, bytes } of parts) {
    const file = disk.open(`${copy}/${name}`, 'read')
    try {
      const read = (target: Buffer, at: number, position: number, size: number): number =>
        file.read(target, at, size, position - start)
      const end = start + bytes
      const scan = new FrameScan(read, start, end, undefined)
      for (;;) {
        signal.throwIfAborted()
        const header = scan.next()
        if (header === undefined) {
          const hole = scan.position
          const isTail = told === undefined && name === parts.at(-1)?.name
          if (hole === end || scan.search() === undefined) {
            // Of a broker that was killed the end is what recovery takes it for.
            if (!isTail) damaged += end - hole
            break
          }
          damaged += scan.position - hole
        } else if (scan.position - start > done + PIECE_BYTES) {
          await nextTurn()
        }
        moved('verify', done + scan.position - start, of)
      }
    } finally {
      file.close()
    }
    done += bytes
    await nextTurn()
  }
  return damaged
}
