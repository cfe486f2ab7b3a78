// A disk in memory that keeps apart what the cache shows and what would survive a power cut. Every
// write, sync, create, rename and remove is a numbered call that can crash, fail or come up short;
// what a power cut leaves of unsynced writes and names is up to the seed, sector by sector.
import type { Disk, DiskFile } from '../../../src/store/disk/disk.ts'
import type { Random } from '../random.ts'

/** Thrown by the call in which the machine or the process dies, and by every later one. */
export class SimulatedCrash extends Error {}

export type Fault = 'EIO' | 'ENOSPC' | 'short'

export interface SimulatedDiskOptions {
  /** Decides what a crash leaves behind. */
  readonly random: Random
  /** Runs a function when the thread pool comes to it. */
  readonly inPool: (fn: () => void) => void
  readonly capacityBytes?: number
  /** Planted bugs: a call that says yes and does nothing. */
  readonly lies?: 'sync' | 'sync-directory'
}

interface Write {
  readonly position: number
  readonly bytes: Buffer
}

class Inode {
  /** As the cache shows it. */
  content: Buffer = Buffer.alloc(0)
  size = 0
  /** As the medium has it. */
  durable: Buffer = Buffer.alloc(0)
  durableSize = 0
  /** Not durable yet, in order. */
  writes: Write[] = []
  /** Number of writes that left `writes` at its front so far. */
  settled = 0
  /** Failed write-backs; each open file hears of each once. */
  failures = 0
  /** What the last one was. */
  failure: unknown

  apply(write: Write): void {
    this.content = put(this.content, write)
    this.size = Math.max(this.size, write.position + write.bytes.length)
    this.writes.push(write)
  }

  /** The first `count` writes reach the medium. */
  harden(count: number): void {
    for (const write of this.writes.splice(0, count)) this.#persist(write)
    this.settled += count
  }

  /** A write-back failed: what it was about is clean in the cache, and on the medium or not. */
  lose(count: number, random: Random): void {
    for (const write of this.writes.splice(0, count)) if (random.chance(0.3)) this.#persist(write)
    this.settled += count
    this.failures++
  }

  powerCut(random: Random): void {
    const mode = random.pick(['none', 'all', 'prefix', 'sectors', 'sectors'] as const)
    if (mode === 'all') this.harden(this.writes.length)
    if (mode === 'prefix') this.harden(random.int(this.writes.length + 1))
    if (mode === 'sectors') this.#hardenSectors(random)
    if (random.chance(0.5)) this.durableSize = Math.max(this.durableSize, this.size)
    this.writes = []
    this.size = this.durableSize
    this.content = Buffer.alloc(this.size)
    this.durable.copy(this.content, 0, 0, this.size)
  }

  /** A sector holds what it held after some number of the writes that touched it. */
  #hardenSectors(random: Random): void {
    const sectorBytes = random.pick([512, 4096])
    const touched = new Map<number, Write[]>()
    for (const write of this.writes) {
      const last = Math.floor((write.position + write.bytes.length - 1) / sectorBytes)
      for (let i = Math.floor(write.position / sectorBytes); i <= last; i++) {
        const writes = touched.get(i)
        if (writes === undefined) touched.set(i, [write])
        else writes.push(write)
      }
    }
    for (const [sector, writes] of touched) {
      const from = sector * sectorBytes
      for (const write of writes.slice(0, random.int(writes.length + 1))) {
        const start = Math.max(from, write.position)
        const end = Math.min(from + sectorBytes, write.position + write.bytes.length)
        const bytes = write.bytes.subarray(start - write.position, end - write.position)
        this.#persist({ position: start, bytes })
      }
    }
  }

  #persist(write: Write): void {
    this.durable = put(this.durable, write)
    this.durableSize = Math.max(this.durableSize, write.position + write.bytes.length)
  }
}

interface NameChange {
  readonly remove: string | undefined
  readonly add: readonly [name: string, inode: Inode] | undefined
}

class Directory {
  readonly names = new Map<string, Inode>()
  readonly durable = new Map<string, Inode>()
  changes: NameChange[] = []

  change(change: NameChange): void {
    applyChange(this.names, change)
    this.changes.push(change)
  }

  harden(): void {
    for (const change of this.changes) applyChange(this.durable, change)
    this.changes = []
  }

  powerCut(random: Random): void {
    const mode = random.pick(['none', 'all', 'prefix', 'subset'] as const)
    const kept = mode === 'prefix' ? random.int(this.changes.length + 1) : this.changes.length
    for (const change of this.changes.slice(0, kept)) {
      if (mode === 'none' || (mode === 'subset' && random.chance(0.5))) continue
      applyChange(this.durable, change)
    }
    this.changes = []
    this.names.clear()
    for (const [name, inode] of this.durable) this.names.set(name, inode)
  }
}

export class SimulatedDisk implements Disk {
  readonly #options: SimulatedDiskOptions
  readonly #directories = new Map<string, Directory>()
  readonly #faults = new Map<number, Fault>()
  #crashAt = 0
  #isDown = false
  /** Grows with each crash: files opened before it are dead. */
  #life = 0
  capacityBytes: number
  /** While set, every read fails with this code. */
  readFault: string | undefined
  /** Called in each read that its caller waits for on the event loop. */
  onRead = (): void => {}
  /**
   * While set, no file is created or opened when so many are open: the call fails with this code.
   */
  openFault: string | undefined
  openFilesMax = 0
  /** Opened in this life and not closed. */
  openFiles = 0
  /** Calls that change something, since the last crash. */
  calls = 0

  constructor(options: SimulatedDiskOptions) {
    this.#options = options
    this.capacityBytes = options.capacityBytes ?? Number.POSITIVE_INFINITY
  }

  /** The call of this number, counted from the last crash, is the last one. 0 = none. */
  crashAt(call: number): void {
    this.#crashAt = call
  }
  failAt(call: number, fault: Fault): void {
    this.#faults.set(call, fault)
  }
  get isDown(): boolean {
    return this.#isDown
  }

  /** Starts again after a crash: the process alone died ('kill'), or the power was cut. */
  restart(kind: 'kill' | 'power'): void {
    const { random } = this.#options
    if (kind === 'power') {
      const inodes = new Set<Inode>()
      for (const directory of this.#directories.values()) {
        directory.powerCut(random)
        for (const inode of directory.names.values()) inodes.add(inode)
      }
      for (const inode of inodes) inode.powerCut(random)
    }
    this.#isDown = false
    this.#crashAt = 0
    this.#faults.clear()
    this.#life++
    this.calls = 0
    this.openFiles = 0
  }

  /** Flips one bit of what is stored; as rot does, without a trace. */
  flipBit(path: string, byte: number, bit: number): void {
    const inode = this.#inode(path)
    for (const bytes of [inode.content, inode.durable]) bytes[byte] = bytes[byte]! ^ (1 << bit)
  }

  contentOf(path: string): Buffer {
    const inode = this.#inode(path)
    return inode.content.subarray(0, inode.size)
  }

  list(directory: string): string[] {
    return [...this.#directory(directory).names.keys()]
  }

  makeDirectory(path: string): void {
    if (!this.#directories.has(path)) this.#directories.set(path, new Directory())
  }

  create(path: string): DiskFile {
    const [directory, name] = this.#locate(path)
    if (directory.names.has(name)) throw diskError('EEXIST', path)
    this.#assertMayOpen(path)
    const inode = new Inode()
    this.#call(path, () => directory.change({ remove: undefined, add: [name, inode] }))
    return this.#open(inode, path)
  }

  open(path: string, _mode: 'read' | 'write'): DiskFile {
    if (this.#isDown) throw new SimulatedCrash()
    this.#assertMayOpen(path)
    return this.#open(this.#inode(path), path)
  }

  rename(from: string, to: string): void {
    const [directory, name] = this.#locate(from)
    const inode = this.#inode(from)
    const [, newName] = this.#locate(to)
    this.#call(to, () => directory.change({ remove: name, add: [newName, inode] }))
  }

  remove(path: string): void {
    const [directory, name] = this.#locate(path)
    this.#inode(path)
    this.#call(path, () => directory.change({ remove: name, add: undefined }))
  }

  removeLater(path: string, done: (error: Error | null) => void): void {
    this.#later(() => this.remove(path), done)
  }

  syncDirectory(path: string): void {
    this.#call(path, () => {
      if (this.#options.lies !== 'sync-directory') this.#directory(path).harden()
    })
  }

  syncDirectoryLater(path: string, done: (error: Error | null) => void): void {
    this.#later(() => this.syncDirectory(path), done)
  }

  totalBytes(): number {
    return this.capacityBytes
  }

  freeBytes(): number {
    return Math.max(0, this.capacityBytes - this.#usedBytes())
  }

  // For the files

  #assertMayOpen(path: string): void {
    if (this.openFault === undefined || this.openFiles < this.openFilesMax) return
    throw diskError(this.openFault, path)
  }

  /**
   * Counts a call that changes something, and lets it crash before or after its effect, or fail.
   */
  #call(path: string, effect: () => void, partly?: () => void): Fault | undefined {
    if (this.#isDown) throw new SimulatedCrash()
    this.calls++
    if (this.calls === this.#crashAt) {
      this.#isDown = true
      const extent = this.#options.random.int(3)
      if (extent === 1) partly?.()
      if (extent === 2) effect()
      throw new SimulatedCrash()
    }
    const fault = this.#faults.get(this.calls)
    // Only a write can come up short.
    if (fault === 'short' && partly !== undefined) return fault
    if (fault !== undefined && fault !== 'short') throw diskError(fault, path)
    effect()
    return undefined
  }

  #later(work: () => void, done: (error: Error | null) => void): void {
    const life = this.#life
    const { inPool } = this.#options
    inPool(() => {
      if (life !== this.#life || this.#isDown) return
      let failure: Error | null = null
      try {
        work()
      } catch (error) {
        if (error instanceof SimulatedCrash) return
        failure = error as Error
      }
      inPool(() => {
        if (life === this.#life && !this.#isDown) done(failure)
      })
    })
  }

  #open(inode: Inode, path: string): DiskFile {
    const life = this.#life
    let heard = inode.failures
    let isClosed = false
    this.openFiles++
    const assertAlive = (): void => {
      if (life !== this.#life || this.#isDown) throw new SimulatedCrash()
    }
    const assertOpen = (): void => {
      assertAlive()
      if (isClosed) throw diskError('EBADF', path)
    }
    const read = (target: Uint8Array, at: number, length: number, position: number): number => {
      assertAlive()
      if (this.readFault !== undefined) throw diskError(this.readFault, path)
      const end = Math.min(inode.size, position + length)
      if (end <= position) return 0
      target.set(inode.content.subarray(position, end), at)
      return end - position
    }
    const sync = (count: number): void => {
      assertAlive()
      let failure: unknown
      try {
        this.#call(path, () => {
          if (this.#options.lies !== 'sync') inode.harden(count)
        })
      } catch (error) {
        if (error instanceof SimulatedCrash) throw error
        inode.lose(count, this.#options.random)
        inode.failure = error
        failure = error
      }
      // Each open file hears of a failed write-back once, on whichever file the sync met it.
      if (heard < inode.failures) failure ??= inode.failure
      heard = inode.failures
      if (failure !== undefined) throw failure
    }
    /** A call that has begun goes on when the file is closed during it. */
    const later = <T>(
      work: () => T,
      none: T,
      done: (error: Error | null, result: T) => void,
    ): void => {
      assertOpen()
      let result = none
      const keep = (): void => {
        result = work()
      }
      this.#later(keep, (error) => done(error, result))
    }
    const write = this.#write.bind(this, inode, path)
    return {
      path,
      write(bytes, at, length, position) {
        assertOpen()
        return write(bytes, at, length, position)
      },
      read: (target, at, length, position) => {
        assertOpen()
        this.onRead()
        return read(target, at, length, position)
      },
      sync() {
        assertOpen()
        sync(inode.writes.length)
      },
      writeLater: (bytes, at, length, position, done) =>
        later(() => write(bytes, at, length, position), 0, done),
      readLater: (target, at, length, position, done) =>
        later(() => read(target, at, length, position), 0, done),
      syncLater(done) {
        const upTo = inode.settled + inode.writes.length
        later(() => sync(Math.max(0, upTo - inode.settled)), undefined, done)
      },
      size: () => inode.size,
      close: () => {
        if (!isClosed && life === this.#life) this.openFiles--
        isClosed = true
      },
    }
  }

  #write(
    inode: Inode,
    path: string,
    bytes: Uint8Array,
    at: number,
    length: number,
    position: number,
  ): number {
    const writeFirst = (count: number): void => {
      if (count > 0) inode.apply({ position, bytes: Buffer.from(bytes.subarray(at, at + count)) })
    }
    const growth = Math.max(0, position + length - inode.size)
    const room = Math.max(0, this.freeBytes())
    const fits = growth <= room ? length : Math.max(0, length - (growth - room))
    if (fits === 0 && length > 0) {
      this.#call(path, () => {})
      throw diskError('ENOSPC', path)
    }
    const partly = (): void => writeFirst(this.#options.random.int(length))
    const fault = this.#call(path, () => writeFirst(fits), partly)
    if (fault === undefined) return fits
    const short = this.#options.random.int(length)
    writeFirst(short)
    return short
  }

  #usedBytes(): number {
    let sum = 0
    for (const directory of this.#directories.values()) {
      for (const inode of directory.names.values()) sum += inode.size
    }
    return sum
  }

  #directory(path: string): Directory {
    if (this.#isDown) throw new SimulatedCrash()
    const directory = this.#directories.get(path)
    if (directory === undefined) throw diskError('ENOENT', path)
    return directory
  }

  #locate(path: string): [Directory, string] {
    const slash = path.lastIndexOf('/')
    return [this.#directory(path.slice(0, slash)), path.slice(slash + 1)]
  }

  #inode(path: string): Inode {
    const [directory, name] = this.#locate(path)
    const inode = directory.names.get(name)
    if (inode === undefined) throw diskError('ENOENT', path)
    return inode
  }
}

function applyChange(names: Map<string, Inode>, { remove, add }: NameChange): void {
  if (remove !== undefined) names.delete(remove)
  if (add !== undefined) names.set(add[0], add[1])
}

function put(target: Buffer, { position, bytes }: Write): Buffer {
  const end = position + bytes.length
  let grown = target
  if (end > target.length) {
    grown = Buffer.alloc(Math.max(end, target.length * 2))
    target.copy(grown)
  }
  grown.set(bytes, position)
  return grown
}

function diskError(code: string, path: string): Error {
  return Object.assign(new Error(`${code}: simulated, '${path}'`), { code })
}
