// The name of a copy of a log. It is made at random and is beside the segments, so that it goes
// with them: a copy that was emptied, or put back from a backup, which has no such file, is another
// one.
import { randomBytes } from 'node:crypto'
import { BrokerError } from '../../errors.ts'
import { openDataDirectory } from './data-directory.ts'
import { readFile, replaceFile } from './disk.ts'
import { nodeDisk } from './node-disk.ts'

const NAME = 'copy'
const RANDOM_BYTES = 8

export interface NamedCopy {
  readonly name: string
  /** It was in a group: it makes none any more. */
  readonly isMember: boolean
  /** Durable when it returns. @throws errors of the disk */
  join(): void
}

/**
 * As it is called, or a new name that begins with the number. No process may have the directory.
 * @throws BrokerError what opening a data directory does, STORE_CORRUPT
 */
export function copyNameIn(directory: string, number: number): NamedCopy {
  const { logPath, close } = openDataDirectory(directory)
  try {
    nodeDisk.makeDirectory(logPath)
    const text = readFile(nodeDisk, logPath, NAME)?.toString('latin1')
    const fresh = `${number}-${randomBytes(RANDOM_BYTES).toString('hex')}`
    const [, name = fresh, member] = text?.match(/^copy (\d+-[0-9a-f]+)( member)?\n$/) ?? []
    if (text !== undefined && name === fresh) {
      const path = `${logPath}/${NAME}`
      throw new BrokerError(
        'STORE_CORRUPT',
        `'${path}' is unreadable: remove it, and this copy has to get in sync anew`,
      )
    }
    const write = (isMember: boolean): void => {
      const line = `copy ${name}${isMember ? ' member' : ''}\n`
      replaceFile(nodeDisk, logPath, NAME, Buffer.from(line, 'latin1'))
    }
    if (text === undefined) write(false)
    let isMember = member !== undefined
    return {
      name,
      get isMember() {
        return isMember
      },
      join() {
        if (!isMember) write(true)
        isMember = true
      },
    }
  } finally {
    close()
  }
}
