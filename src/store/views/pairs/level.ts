// The one opener of LevelDB. It loses entries silently (a flipped bit in its log, a missing
// CURRENT), so nothing lives only here and every value is sealed (sealed.ts). A directory is opened
// once per process: a second attempt would drop the process lock.
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { Level } from 'level'
import type { Logger } from '../../../log.ts'
import { errorCode } from '../../disk/disk.ts'
import type { KeyValue, KeyValueBatch, KeyValuePlace, Pair } from './key-value.ts'

/** 32 MiB instead of 4 is what keeps LevelDB's write stalls below a tenth of a second. */
const WRITE_BUFFER_BYTES = 32 * 1024 * 1024
const CACHE_BYTES = 32 * 1024 * 1024
const FILE_BYTES_MAX = 16 * 1024 * 1024
const OPEN_FILES_MAX = 500
/** A page of a scan ends where it has so much, or with one pair more. */
const SCAN_BYTES_MAX = 256 * 1024

type Database = Level<Buffer, Buffer>

const ENCODING = { keyEncoding: 'buffer', valueEncoding: 'buffer' } as const

/** The files that LevelDB makes, but for the one that carries the lock. */
const OWN_PATTERN = /^(CURRENT|LOG|LOG\.old|MANIFEST-\d+|\d+\.(log|ldb|sst|dbtmp))$/

/** Another process that clears the directory at the same moment can spoil an attempt. */
const LOCK_ATTEMPTS = 3

/** Lets the next one in. */
export type Unlock = () => Promise<void>

/**
 * Takes the kernel's lock in this directory, which holds against every process that sees the same
 * files, in another container too: LevelDB's own, of a store that never holds anything. undefined
 * when another process has it. Where it cannot be had for another reason (a full disk), nothing is
 * locked, and the caller that opens the rest is told why.
 */
export async function lockByKernel(directory: string, log: Logger): Promise<Unlock | undefined> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await openAsLock(directory)
    } catch (error) {
      const { cause } = error as Error
      if (errorCode(cause) === 'LEVEL_LOCKED') return undefined
      if (attempt < LOCK_ATTEMPTS) continue
      log.warn(
        { evt: 'lock.not_taken', err: error },
        `no lock in '${directory}': only its files' names are checked`,
      )
      return async () => {}
    }
  }
}

async function openAsLock(directory: string): Promise<Unlock> {
  await mkdir(directory, { recursive: true })
  // Nothing that may have rotted is read; a holder never looks at these files again.
  for (const name of await readdir(directory)) {
    if (OWN_PATTERN.test(name)) await rm(join(directory, name), { force: true })
  }
  // Not before: it opens by itself, and must not run beside the clearing.
  const database: Database = new Level<Buffer, Buffer>(directory, ENCODING)
  await database.open()
  return () => database.close()
}

export function levelPlace(directory: string, log: Logger): KeyValuePlace {
  return {
    async open(name, create) {
      await mkdir(directory, { recursive: true })
      const database: Database = new Level<Buffer, Buffer>(join(directory, name), ENCODING)
      try {
        await database.open({
          createIfMissing: create,
          errorIfExists: create,
          writeBufferSize: WRITE_BUFFER_BYTES,
          cacheSize: CACHE_BYTES,
          maxFileSize: FILE_BYTES_MAX,
          maxOpenFiles: OPEN_FILES_MAX,
        })
      } catch (error) {
        if (create) throw error
        log.warn({ evt: 'views.not_opened', name, err: error }, `the views ${name} do not open`)
        return undefined
      }
      return new LevelKeyValue(database)
    },
    async remove(name) {
      await rm(join(directory, name), { recursive: true, force: true })
    },
    async names() {
      await mkdir(directory, { recursive: true })
      return readdir(directory)
    },
  }
}

class LevelKeyValue implements KeyValue {
  readonly #database: Database

  constructor(database: Database) {
    this.#database = database
  }

  get(key: Uint8Array): Buffer | undefined {
    return this.#database.getSync(key as Buffer)
  }

  batch(): KeyValueBatch {
    const chained = this.#database.batch()
    return {
      put: (key, value) => {
        chained.put(key as Buffer, value as Buffer)
      },
      delete: (key) => {
        chained.del(key as Buffer)
      },
      write: (sync) => chained.write({ sync }),
    }
  }

  async scan(from: Uint8Array, to: Uint8Array, limit: number): Promise<readonly Pair[]> {
    const iterator = this.#database.iterator({
      gte: from as Buffer,
      lt: to as Buffer,
      limit,
      fillCache: false,
      highWaterMarkBytes: SCAN_BYTES_MAX,
    })
    try {
      return await iterator.nextv(limit)
    } finally {
      await iterator.close()
    }
  }

  clear(from: Uint8Array, to: Uint8Array): Promise<void> {
    return this.#database.clear({ gte: from as Buffer, lt: to as Buffer })
  }

  close(): Promise<void> {
    return this.#database.close()
  }
}
