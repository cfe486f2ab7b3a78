// What the store asks of a file system, and nothing more: small enough to be simulated call by call.
// Every write, sync, create, rename and remove of the store goes through here, so that a test can
// crash, tear, shorten or fail each of them.

/** An open file. Positions are bytes from its start. Errors carry Node's `code` (ENOSPC, EIO, ...). */
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
  /** Waits for what is under way in the thread pool. Idempotent. */
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
  syncDirectory(path: string): void
  syncDirectoryLater(path: string, done: (error: Error | null) => void): void
  /** What an unprivileged process may still write, bytes. */
  freeBytes(directory: string): number
}
