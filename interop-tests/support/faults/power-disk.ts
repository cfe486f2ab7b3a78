// An ext4 on a loop device whose power can be cut: everything that is not synced is gone then.
// Needs root, mkfs.ext4 and python3.
import { execFile } from 'node:child_process'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { type Teardown, tempDir } from '../../../test/support/temp-dir.ts'

const run = promisify(execFile)

/** EXT4_IOC_SHUTDOWN without flushing the journal. */
const SHUTDOWN = `
import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))`

/** Why this machine cannot mount a file system and shut it down, or undefined when it can. */
export async function powerDiskMissing(): Promise<string | undefined> {
  if (process.platform !== 'linux') return 'ext4 is a file system of Linux'
  if (process.getuid?.() !== 0) return 'mounting needs root'
  const needs = [
    ['mkfs.ext4', '-V'],
    ['python3', '--version'],
    // A container may have no loop devices, or no right to mount them.
    ['unshare', '-m', 'losetup', '--find'],
  ]
  for (const [command, ...args] of needs) {
    try {
      await run(command!, args)
    } catch (error) {
      return `${command} does not work here (${(error as Error).message.trim()})`
    }
  }
  return undefined
}

export class PowerDisk {
  readonly path: string
  readonly #image: string

  private constructor(directory: string) {
    this.path = join(directory, 'disk')
    this.#image = join(directory, 'image')
  }

  static async start(t: Teardown, size: string): Promise<PowerDisk> {
    const disk = new PowerDisk(await tempDir(t))
    await mkdir(disk.path)
    await run('truncate', ['-s', size, disk.#image])
    await run('mkfs.ext4', ['-q', '-F', disk.#image])
    await disk.mount()
    // Lazily, because a process that has a file of it may still be on its way out.
    t.teardown(() => run('umount', ['--lazy', disk.path]).catch(() => {}))
    return disk
  }

  get dataDir(): string {
    return join(this.path, 'data')
  }

  async mount(): Promise<void> {
    await run('mount', ['-o', 'loop', this.#image, this.path])
  }

  /** Under the processes that use it: each gets an error for whatever it does with it from now on. */
  async cut(): Promise<void> {
    await run('python3', ['-c', SHUTDOWN, this.path])
  }

  /** Once no process uses it: as it is found after the cut. */
  async mountAgain(): Promise<void> {
    await run('umount', [this.path])
    await this.mount()
  }
}
