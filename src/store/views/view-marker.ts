// Markers of the views: small files outside LevelDB. `current` says which of its directories is the
// current one and how often it was opened, so that a lost, emptied, replaced or older one is seen;
// `building` says the same of a build that is half done.
import { crc32 } from '../../model/crc32.ts'
import { type Disk, readFile, replaceFile } from '../disk/disk.ts'

const PATTERN =
  /^(views (\d{1,15}) identity ([0-9a-f]{1,64}) opening (\d{1,15}) deaths (\d{1,9}) early (\d{1,9})) crc (\d+)\n$/

export type MarkerName = 'current' | 'building'

export interface ViewMarker {
  /** Directory beside the marker. */
  readonly name: string
  /** Of the build of views in it. */
  readonly identity: string
  /** The views must say this or more. */
  readonly opening: number
  /**
   * Openings in a row that did not come to their end; LevelDB aborts the process on some damage.
   */
  readonly deaths: number
  /** Openings in a row after which the process ended soon and not in order. */
  readonly early: number
}

/** undefined when there is none or none that checks. */
export function readViewMarker(
  disk: Disk,
  directory: string,
  file: MarkerName = 'current',
): ViewMarker | undefined {
  const text = readFile(disk, directory, file)?.toString('latin1')
  const match = text?.match(PATTERN)
  if (!match || crc32(Buffer.from(match[1]!, 'latin1')) !== Number(match[7])) return undefined
  const [opening, deaths, early] = match.slice(4, 7).map(Number)
  const counts = { opening: opening!, deaths: deaths!, early: early! }
  return { name: match[2]!, identity: match[3]!, ...counts }
}

export function writeViewMarker(
  disk: Disk,
  directory: string,
  marker: ViewMarker,
  file: MarkerName = 'current',
): void {
  const { name, identity, opening, deaths, early } = marker
  const text = `views ${name} identity ${identity} opening ${opening} deaths ${deaths} early ${early}`
  const crc = crc32(Buffer.from(text, 'latin1'))
  replaceFile(disk, directory, file, Buffer.from(`${text} crc ${crc}\n`, 'latin1'))
}
