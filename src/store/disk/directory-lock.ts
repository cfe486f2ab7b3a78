// One process per data directory. Node offers no flock, so a holder is a file whose *name*
// identifies the process: pid, start time, boot and pid namespace. Each contender first creates its
// own file and then looks at the others; of two that race at least one sees the other, and a dead
// process's file can be removed without a race because no later process has its name. (Nothing is
// written into the file, so a full disk is no obstacle.)
//
// A holder in another pid namespace (another container on the same volume) cannot be asked for
// signs of life and passes for a dead one: against it there is a lock of the kernel besides
// (level.ts).
import { closeSync, openSync, readdirSync, readFileSync, readlinkSync, unlinkSync } from 'node:fs'
import { BrokerError } from '../../errors.ts'

const NAME_PATTERN = /^lock\.(\d{1,10})\.(\d{1,20})\.([0-9a-f]{1,8})\.(\d{1,20})$/

export interface DirectoryLock {
  /** Idempotent. */
  release(): void
}

interface Holder {
  readonly pid: number
  /** In clock ticks since boot; 0 where there is no /proc. */
  readonly startTime: string
  readonly boot: string
  readonly namespace: string
}

/** Real paths held by this process. */
const held = new Set<string>()

/** @throws BrokerError BUSY, naming the process that holds the directory */
export function lockDirectory(path: string): DirectoryLock {
  if (held.has(path)) {
    throw new BrokerError('BUSY', `the data directory '${path}' is open in this process already`)
  }
  const self = whoAmI()
  const own = nameOf(self)
  closeSync(openSync(`${path}/${own}`, 'w'))
  for (const name of readdirSync(path)) {
    const holder = parse(name)
    if (holder === undefined || name === own) continue
    if (isAlive(holder, self)) {
      unlinkSync(`${path}/${own}`)
      throw new BrokerError(
        'BUSY',
        `the data directory '${path}' is in use by process ${holder.pid}; ` +
          'stop that process, or name another data directory',
      )
    }
    removeIfThere(`${path}/${name}`)
  }
  held.add(path)
  return {
    release() {
      if (held.delete(path)) removeIfThere(`${path}/${own}`)
    },
  }
}

/**
 * The process that has the directory open; undefined: none. One of another container counts: it
 * cannot be asked for signs of life.
 */
export function holderOf(path: string): number | undefined {
  const self = whoAmI()
  const isOther = ({ boot, namespace }: Holder): boolean =>
    boot === self.boot && namespace !== self.namespace
  const holders = readdirSync(path).flatMap((name) => parse(name) ?? [])
  return holders.find((holder) => isOther(holder) || isAlive(holder, self))?.pid
}

const nameOf = (holder: Holder): string =>
  `lock.${holder.pid}.${holder.startTime}.${holder.boot}.${holder.namespace}`

function parse(name: string): Holder | undefined {
  const match = NAME_PATTERN.exec(name)
  if (match === null) return undefined
  const [, pid, startTime, boot, namespace] = match
  return { pid: Number(pid), startTime: startTime!, boot: boot!, namespace: namespace! }
}

function whoAmI(): Holder {
  const boot = readProc('/proc/sys/kernel/random/boot_id')?.slice(0, 8) ?? '0'
  const startTime = startTimeOf(process.pid) ?? '0'
  return { pid: process.pid, startTime, boot, namespace: pidNamespace() }
}

function isAlive(holder: Holder, self: Holder): boolean {
  if (holder.boot !== self.boot || holder.namespace !== self.namespace) return false
  if (self.startTime !== '0') return startTimeOf(holder.pid) === holder.startTime
  try {
    process.kill(holder.pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}

/** Field 22 of /proc/PID/stat; the command before it may hold blanks and brackets. */
function startTimeOf(pid: number): string | undefined {
  const stat = readProc(`/proc/${pid}/stat`)
  const fields = stat?.slice(stat.lastIndexOf(')') + 2).split(' ')
  // A zombie holds nothing any more.
  return fields === undefined || fields[0] === 'Z' ? undefined : fields[19]
}

function pidNamespace(): string {
  try {
    return /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '0'
  } catch {
    return '0'
  }
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1').trim()
  } catch {
    return undefined
  }
}

function removeIfThere(path: string): void {
  try {
    unlinkSync(path)
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
  }
}
