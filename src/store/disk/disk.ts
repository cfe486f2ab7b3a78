// The calls that the store makes to a file system, few enough to be simulated one by one.
// Every write, sync, create, rename and remove of the store goes through here, so that a test can
// crash, tear, shorten or fail each of them.

/**
 * An open file. Positions are bytes from its start. Errors carry Node's `code` (ENOSPC, EIO, ...).
 */
export interface DiskFile {
  readonly path: string
  /** On the calling thread. May write less than asked without an error: check the count. */
  write(bytes: Uint8Array, offset: number, length: number, position: number): number
  /** The same in the thread pool. */
  writeLater(
    bytes: Uint8Array,
    offset: number,
    length: number,
    position: number,
    done: (error: Error | null, written: number) => void,
  ): void
  /** Bytes read; fewer than asked at the end of the file. */
  read(target: Uint8Array, offset: number, length: number, position: number): number
  readLater(
    target: Uint8Array,
    offset: number,
    length: number,
    position: number,
    done: (error: Error | null, read: number) => void,
  ): void
  /** fdatasync on the calling thread: start-up and shut-down only. */
  sync(): void
  /** fdatasync in the thread pool. */
  syncLater(done: (error: Error | null) => void): void
  size(): number
  /** Waits for the calls under way in the thread pool. Idempotent. */
  close(): void
}

export interface Disk {
  /** Names within, unsorted. */
  list(directory: string): string[]
  /** With parents; nothing happens when it exists. */
  makeDirectory(path: string): void
  /** Fails with EEXIST. Readable and writable. The name is durable after `syncDirectory`. */
  create(path: string): DiskFile
  open(path: string, mode: 'read' | 'write'): DiskFile
  rename(from: string, to: string): void
  remove(path: string): void
  /** In the thread pool: to free a large file takes tens of milliseconds. */
  removeLater(path: string, done: (error: Error | null) => void): void
  syncDirectory(path: string): void
  syncDirectoryLater(path: string, done: (error: Error | null) => void): void
  /** The bytes that an unprivileged process may still write. */
  freeBytes(directory: string): number
  /** The size of the file system. */
  totalBytes(directory: string): number
}

/**
 * Of a disk that takes not everything. Full: it goes on by itself, once there is room. Failed: the
 * log has to be opened anew.
 */
export type DiskState = 'full' | 'failed'

/** Codes of "no room": what a person or retention can mend while the process lives. */
const SPACE_CODES: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT', 'EFBIG'])

export function errorCode(error: unknown): unknown {
  return error instanceof Error && 'code' in error ? error.code : undefined
}

export const isSpaceError = (error: unknown): boolean => SPACE_CODES.has(errorCode(error))

/** Codes of "not now": the process is short of something, and the bytes are as good as ever. */
const SHORTAGE_CODES: ReadonlySet<unknown> = new Set(['EMFILE', 'ENFILE', 'ENOMEM', 'EAGAIN'])

export const isShortage = (error: unknown): boolean => SHORTAGE_CODES.has(errorCode(error))

/** A short count comes without an error and means that the disk just got full: it becomes one. */
export function shortWrite(path: string, asked: number, written: number): Error {
  const error = new Error(`ENOSPC: only ${written} of ${asked} bytes were written to '${path}'`)
  return Object.assign(error, { code: 'ENOSPC' })
}

/** All of `bytes[offset, offset + length)` or an exception; never a second try. */
export function writeAll(
  file: DiskFile,
  bytes: Uint8Array,
  offset: number,
  length: number,
  position: number,
): void {
  const written = file.write(bytes, offset, length, position)
  if (written !== length) throw shortWrite(file.path, length, written)
}

/** Replaces a small file so that a crash leaves the old or the new one, whole. */
export function replaceFile(disk: Disk, directory: string, name: string, bytes: Uint8Array): void {
  const draft = `${directory}/${name}.new`
  if (disk.list(directory).includes(`${name}.new`)) disk.remove(draft)
  const file = disk.create(draft)
  try {
    writeAll(file, bytes, 0, bytes.length, 0)
    file.sync()
  } finally {
    file.close()
  }
  disk.rename(draft, `${directory}/${name}`)
  disk.syncDirectory(directory)
}

/** The whole file, or undefined when it does not exist. */
export function readFile(disk: Disk, directory: string, name: string): Buffer | undefined {
  if (!disk.list(directory).includes(name)) return undefined
  const file = disk.open(`${directory}/${name}`, 'read')
  try {
    const bytes = Buffer.alloc(file.size())
    const read = file.read(bytes, 0, bytes.length, 0)
    return bytes.subarray(0, read)
  } finally {
    file.close()
  }
}
