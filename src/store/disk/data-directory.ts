// The data directory as a whole: the process that holds it, its layout, the places of its parts.
// One process holds it for life; a directory of a newer layout, or one of another program, is
// refused before any file in it is touched.
import { readdirSync, realpathSync, rmSync } from 'node:fs'
import { BrokerError } from '../../errors.ts'
import { type DirectoryLock, lockDirectory } from './directory-lock.ts'
import { errorCode, readFile, replaceFile, writeAll } from './disk.ts'
import { nodeDisk } from './node-disk.ts'

/**
 * Grows with every change after which an older version would misread the files. 2: a fact may be a
 * message of its own append, and a frame may have more than 8 MiB, which a reader of layout 1 takes
 * for damage. 3: a parked record may be of a kind (`DUE_KIND`) that a reader of layout 2 would
 * deliver as a delayed message. What older layouts hold is read as it is.
 */
export const LAYOUT_VERSION = 3
const LAYOUT_READABLE_MIN = 1
export const LAYOUT_FILE = 'layout'
const LAYOUT_PATTERN = /^trivetmq layout (\d{1,9})\n$/
/**
 * Names that a fresh directory may have: our own first files, dot files, a mount point's
 * lost+found.
 */
const HARMLESS_PATTERN = /^(\..*|lock\..*|layout\.new|lost\+found)$/

/** ENOSPC, not ERR_INVALID_ARG_TYPE: that would be a defect of ours. */
const SYSTEM_CODE = /^E[A-Z0-9]+$/

export interface DataDirectory {
  readonly path: string
  /** Segments of the commit log. */
  readonly logPath: string
  /** The views, which can be rebuilt from the log. */
  readonly viewsPath: string
  /** Lets others in. Idempotent. */
  close(): void
}

/**
 * @throws BrokerError BUSY when another process has it, CONFIG_INVALID, NOT_SUPPORTED for a newer
 * layout
 */
export function openDataDirectory(path: string): DataDirectory {
  let lock: DirectoryLock | undefined
  try {
    nodeDisk.makeDirectory(path)
    const real = realpathSync(path)
    assertOurs(real)
    lock = lockDirectory(real)
    readLayout(real)
    return {
      path: real,
      logPath: `${real}/log`,
      viewsPath: `${real}/views`,
      close: () => lock?.release(),
    }
  } catch (error) {
    lock?.release()
    throw explainDisk(path, error)
  }
}

/** The log and its views go; no process may have the directory. @throws BrokerError */
export function emptyDataDirectory(path: string): void {
  const { logPath, viewsPath, close } = openDataDirectory(path)
  try {
    for (const folder of [viewsPath, logPath]) rmSync(folder, { recursive: true, force: true })
  } finally {
    close()
  }
}

/** Without a layout file, anything that did not come from us means a wrong path. */
function assertOurs(path: string): void {
  const names = readdirSync(path)
  if (names.includes(LAYOUT_FILE)) return
  const strange = names.find((name) => !HARMLESS_PATTERN.test(name))
  if (strange === undefined) return
  throw new BrokerError(
    'CONFIG_INVALID',
    `'${path}' is no data directory of TrivetMQ and not empty (it has '${strange}'); name an empty one`,
  )
}

function readLayout(path: string): void {
  const text = readFile(nodeDisk, path, LAYOUT_FILE)?.toString('latin1')
  if (text === undefined) {
    const fresh = Buffer.from(`trivetmq layout ${LAYOUT_VERSION}\n`, 'latin1')
    replaceFile(nodeDisk, path, LAYOUT_FILE, fresh)
    return
  }
  const version = Number(text.match(LAYOUT_PATTERN)?.[1])
  if (version === LAYOUT_VERSION) return
  if (version >= LAYOUT_READABLE_MIN && version < LAYOUT_VERSION) {
    raiseLayout(path, text)
    return
  }
  if (version > LAYOUT_VERSION) {
    throw new BrokerError(
      'NOT_SUPPORTED',
      `'${path}' has layout ${version}, this version knows up to ${LAYOUT_VERSION}; ` +
        'start the newer TrivetMQ that wrote it, or name another data directory',
    )
  }
  throw new BrokerError(
    'STORE_CORRUPT',
    `'${path}/${LAYOUT_FILE}' is unreadable; write 'trivetmq layout ${LAYOUT_VERSION}' and a line end into it ` +
      'if this directory was written by this version',
  )
}

/**
 * From here on older versions refuse the directory. In place, for that works on a full disk as
 * well.
 */
function raiseLayout(path: string, text: string): void {
  const raised = Buffer.from(text.replace(/\d+/, String(LAYOUT_VERSION)), 'latin1')
  const file = nodeDisk.open(`${path}/${LAYOUT_FILE}`, 'write')
  try {
    writeAll(file, raised, 0, raised.length, 0)
    file.sync()
  } finally {
    file.close()
  }
}

/** An error of the system with what to do about it; any other error as it is. */
export function explainDisk(path: string, error: unknown): unknown {
  const code = String(errorCode(error))
  if (!SYSTEM_CODE.test(code)) return error
  const remedy: Record<string, string> = {
    EACCES: 'give the user that runs TrivetMQ the right to write there, or name another directory',
    EPERM: 'give the user that runs TrivetMQ the right to write there, or name another directory',
    EROFS: 'mount it writable, or name another directory',
    ENOTDIR: 'it or one of its parents is a file; name another directory',
    EEXIST: 'it is a file; name another directory',
    ENOSPC: 'free some space on its disk',
    EDQUOT: 'free some space within the quota of the user that runs TrivetMQ',
    EIO: 'look at the disk',
    EMFILE: 'raise the limit of open files (ulimit -n)',
  }
  const text = (error as Error).message
  return new BrokerError(
    'CONFIG_INVALID',
    `the data directory '${path}' cannot be used (${text}): ${remedy[code] ?? 'name another directory'}`,
    { cause: error },
  )
}
