// A file system of a few megabytes in memory, mounted for one test, with a ballast file beside the data
// directory: what an operator would delete to make room. Mounting needs root.
import { execFile } from 'node:child_process'
import { closeSync, openSync, unlinkSync, writeSync } from 'node:fs'
import { mkdir, readdir, stat, statfs } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { ExecutionContext } from 'ava'
import { tempDir } from '../../../test/support/temp-dir.ts'

const run = promisify(execFile)

export const KIB = 1024
export const MIB = 1024 * KIB

/** Why this machine cannot mount one, or undefined when it can. */
export async function smallDiskMissing(): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'tmpfs is a file system of Linux'
  if (process.getuid?.() !== 0) return 'mounting needs root'
  try {
    // In a container root alone may not suffice.
    await run('unshare', ['--mount', 'mount', '-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', '/mnt'])
    return undefined
  } catch (error) {
    return `a tmpfs cannot be mounted (${(error as Error).message.trim()})`
  }
}

export class SmallDisk {
  readonly path: string
  readonly dataDir: string

  constructor(path: string) {
    this.path = path
    this.dataDir = join(path, 'data')
  }

  get #ballast(): string {
    return join(this.path, 'ballast')
  }

  /** Takes all that is free but so many bytes. */
  async fillUpTo(leftBytes: number): Promise<void> {
    const piece = Buffer.alloc(64 * KIB)
    const file = openSync(this.#ballast, 'a')
    try {
      for (;;) {
        const free = await this.freeBytes()
        if (free <= leftBytes) return
        writeSync(file, piece, 0, Math.min(piece.length, free - leftBytes))
      }
    } finally {
      closeSync(file)
    }
  }

  giveBack(): void {
    unlinkSync(this.#ballast)
  }

  async freeBytes(): Promise<number> {
    const { bavail, bsize } = await statfs(this.path)
    return bavail * bsize
  }

  /** Size of a file of the data directory; 0 when it is not there. */
  async fileBytes(name: string): Promise<number> {
    try {
      return (await stat(join(this.dataDir, name))).size
    } catch {
      return 0
    }
  }

  names(directory: string): Promise<string[]> {
    return readdir(join(this.dataDir, directory))
  }

  async remount(mode: 'ro' | 'rw'): Promise<void> {
    await run('mount', ['-o', `remount,${mode}`, this.path])
  }
}

/** Gone after the test. */
export async function smallDisk(t: ExecutionContext, bytes: number): Promise<SmallDisk> {
  const path = join(await tempDir(t), 'disk')
  await mkdir(path)
  await run('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', path])
  // Lazily, because whoever holds a file of it may still be on his way out.
  t.teardown(() => run('umount', ['--lazy', path]))
  return new SmallDisk(path)
}
