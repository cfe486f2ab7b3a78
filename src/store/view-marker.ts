// The marker of the views: one small file outside LevelDB that says which of its directories is the
// current one and how often it was opened, so that a lost, emptied, replaced or older one is seen.
import { crc32 } from '../model/crc32.ts'
import { type Disk, readFile, replaceFile } from './disk.ts'

const NAME = 'current'

export interface ViewMarker {
  /** Directory beside the marker. */
  readonly name: string
  /** Of the build of views in it. */
  readonly identity: string
  /** The views must say this or more. */
  readonly opening: number
}

/** undefined when there is none or none that checks. */
export function readViewMarker(disk: Disk, directory: string): ViewMarker | undefined {
  const text = readFile(disk, directory, NAME)?.toString('latin1')
  const match = text?.match(/^(views (\d+) identity ([0-9a-f]+) opening (\d{1,15})) crc (\d+)\n$/)
  if (!match || crc32(Buffer.from(match[1]!, 'latin1')) !== Number(match[5])) return undefined
  return { name: match[2]!, identity: match[3]!, opening: Number(match[4]) }
}

export function writeViewMarker(disk: Disk, directory: string, marker: ViewMarker): void {
  const text = `views ${marker.name} identity ${marker.identity} opening ${marker.opening}`
  const crc = crc32(Buffer.from(text, 'latin1'))
  replaceFile(disk, directory, NAME, Buffer.from(`${text} crc ${crc}\n`, 'latin1'))
}
