// The real file system behind the Disk interface. Closing waits for what the thread pool still does
// with the descriptor, because a number that is free again may already belong to another file.
import * as fs from 'node:fs'
import { dirname } from 'node:path'
import { type Disk, type DiskFile, errorCode } from './disk.ts'

const CLOSED = -1

class NodeFile implements DiskFile {
  readonly path: string
  /**
   * -1 once closed: the call then fails with EBADF instead of reaching the file that got the
   * number.
   */
  #fd: number
  #underWay = 0
  #closing = false

  constructor(path: string, flags: string) {
    this.path = path
    this.#fd = fs.openSync(path, flags)
  }

  write(bytes: Uint8Array, offset: number, length: number, position: number): number {
    this.#assertOpen()
    return fs.writeSync(this.#fd, bytes, offset, length, position)
  }

  writeLater(
    bytes: Uint8Array,
    offset: number,
    length: number,
    position: number,
    done: (error: Error | null, written: number) => void,
  ): void {
    if (this.#closing) {
      done(this.#closedError(), 0)
      return
    }
    this.#underWay++
    fs.write(this.#fd, bytes, offset, length, position, (error, written) => {
      this.#finish()
      done(error, written)
    })
  }

  read(target: Uint8Array, offset: number, length: number, position: number): number {
    this.#assertOpen()
    return fs.readSync(this.#fd, target, offset, length, position)
  }

  readLater(
    target: Uint8Array,
    offset: number,
    length: number,
    position: number,
    done: (error: Error | null, read: number) => void,
  ): void {
    if (this.#closing) {
      done(this.#closedError(), 0)
      return
    }
    this.#underWay++
    fs.read(this.#fd, target, offset, length, position, (error, read) => {
      this.#finish()
      done(error, read)
    })
  }

  sync(): void {
    this.#assertOpen()
    fs.fdatasyncSync(this.#fd)
  }

  syncLater(done: (error: Error | null) => void): void {
    if (this.#closing) {
      done(this.#closedError())
      return
    }
    this.#underWay++
    fs.fdatasync(this.#fd, (error) => {
      this.#finish()
      done(error)
    })
  }

  size(): number {
    return fs.fstatSync(this.#fd).size
  }

  close(): void {
    if (this.#closing) return
    this.#closing = true
    this.#closeWhenIdle()
  }

  #finish(): void {
    this.#underWay--
    this.#closeWhenIdle()
  }

  #closeWhenIdle(): void {
    if (!this.#closing || this.#underWay > 0 || this.#fd === CLOSED) return
    fs.closeSync(this.#fd)
    this.#fd = CLOSED
  }

  #assertOpen(): void {
    if (this.#closing) throw this.#closedError()
  }

  #closedError(): Error {
    return Object.assign(new Error(`EBADF: '${this.path}' is closed`), { code: 'EBADF' })
  }
}

export const nodeDisk: Disk = {
  list: (directory) => fs.readdirSync(directory),
  makeDirectory: (path) => makeDirectory(path, OWNER_ONLY),
  create: (path) => new NodeFile(path, 'wx+'),
  open: (path, mode) => new NodeFile(path, mode === 'read' ? 'r' : 'r+'),
  rename: (from, to) => fs.renameSync(from, to),
  remove: (path) => fs.unlinkSync(path),
  removeLater: (path, done) => fs.unlink(path, done),
  syncDirectory(path) {
    const fd = fs.openSync(path, 'r')
    try {
      fs.fsyncSync(fd)
    } finally {
      fs.closeSync(fd)
    }
  },
  syncDirectoryLater(path, done) {
    fs.open(path, 'r', (openError, fd) => {
      if (openError !== null) return done(openError)
      fs.fsync(fd, (syncError) =>
        fs.close(fd, (closeError) => done(syncError ?? closeError ?? null)),
      )
    })
  },
  totalBytes(directory) {
    const { blocks, bsize } = fs.statfsSync(directory)
    return blocks * bsize
  },

  freeBytes(directory) {
    const { bavail, bsize } = fs.statfsSync(directory)
    return bavail * bsize
  },
}

/** Only the user that runs the broker may read the stored files. */
const OWNER_ONLY = 0o700
const ANYONE = 0o777

/**
 * Node's own recursive mkdir never returns where the parent exists and takes no children (/proc).
 */
function makeDirectory(path: string, mode: number): void {
  try {
    fs.mkdirSync(path, mode)
  } catch (error) {
    if (errorCode(error) === 'EEXIST' && fs.statSync(path).isDirectory()) return
    if (errorCode(error) !== 'ENOENT' || dirname(path) === path) throw error
    makeDirectory(dirname(path), ANYONE)
    fs.mkdirSync(path, mode)
  }
}
