// The marker of the views: one small file outside LevelDB that says which of its directories is the
// current one and how often it was opened, so that a lost, emptied, replaced or older one is seen.
import { crc32 } from '../model/crc32.ts'
import { type Disk, readFile, replaceFile } from './disk.ts'

const NAME = 'current'
const PATTERN =
  /^(views (\d{1,15}) identity ([0-9a-f]{1,64}) opening (\d{1,15}) deaths (\d{1,9})) crc (\d+)\n$/

export interface ViewMarker {
  /** Directory beside the marker. */
  readonly name: string
  /** Of the build of views in it. */
  readonly identity: string
  /** The views must say this or more. */
  readonly opening: number
  /** Openings in a row after which the process ended early and not in order; LevelDB aborts on some damage. */
  readonly deaths: number
}

/** undefined when there is none or none that checks. */
export function readViewMarker(disk: Disk, directory: string): ViewMarker | undefined {
  const text = readFile(disk, directory, NAME)?.toString('latin1')
  const match = text?.match(PATTERN)
  if (!match || crc32(Buffer.from(match[1]!, 'latin1')) !== Number(match[6])) return undefined
  const [opening, deaths] = match.slice(4, 6).map(Number)
  return { name: match[2]!, identity: match[3]!, opening: opening!, deaths: deaths! }
}

export function writeViewMarker(disk: Disk, directory: string, marker: ViewMarker): void {
  const { name, identity, opening, deaths } = marker
  const text = `views ${name} identity ${identity} opening ${opening} deaths ${deaths}`
  const crc = crc32(Buffer.from(text, 'latin1'))
  replaceFile(disk, directory, NAME, Buffer.from(`${text} crc ${crc}\n`, 'latin1'))
}
