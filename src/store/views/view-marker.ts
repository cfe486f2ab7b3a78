// Markers of the views: small files outside LevelDB. `current` says which of its directories is the
// current one and how often it was opened, so that a lost, emptied, replaced or older one is seen;
// `building` says the same of a build that is half done.
import type { Logger } from '../../log.ts'
import { crc32 } from '../../model/crc32.ts'
import { type Disk, readFile, replaceFile } from '../disk/disk.ts'

const PATTERN =
  /^(views (\d{1,15}) identity ([0-9a-f]{1,64}) opening (\d{1,15}) deaths (\d{1,9}) early (\d{1,9})) crc (\d+)\n$/

/** The name of a build in memory, which no marker and no directory has. */
export const IN_MEMORY = 'memory'

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

/** The marker of the current build, with how the starts before this one ended. */
export class CurrentMarker {
  readonly #disk: Disk
  readonly #directory: string
  readonly #log: Logger
  /** How often the current build was opened, this time included. */
  opening = 1
  deaths = 0
  early = 0

  constructor(disk: Disk, directory: string, log: Logger) {
    this.#disk = disk
    this.#directory = directory
    this.#log = log
  }

  /** Counts this start, which nothing has brought to its end so far. */
  read(): ViewMarker | undefined {
    const marker = readViewMarker(this.#disk, this.#directory)
    this.opening = (marker?.opening ?? 0) + 1
    this.deaths = (marker?.deaths ?? 0) + 1
    this.early = (marker?.early ?? 0) + 1
    return marker
  }

  write(
    { name, identity }: Pick<ViewMarker, 'name' | 'identity'>,
    deaths: number,
    early: number,
    opening = this.opening,
  ): void {
    this.early = early
    if (name === IN_MEMORY) return
    try {
      writeViewMarker(this.#disk, this.#directory, { name, identity, opening, deaths, early })
    } catch (error) {
      // Without it the next start builds the views again, which is slow and harmless.
      const fields = { evt: 'views.not_marked', err: error }
      this.#log.warn(fields, 'the marker of the views was not written')
    }
  }
}
