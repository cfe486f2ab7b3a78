// A build of the views that is half done: a marker beside them names it once it has written
// something, so that the next start goes on with it instead of beginning again. Knows files; what
// is in the build is checked elsewhere.
import type { Disk } from '../disk/disk.ts'
import type { KeyValue, KeyValuePlace } from './pairs/key-value.ts'
import { readViewMarker, type ViewMarker, writeViewMarker } from './view-marker.ts'

/** After so many openings in a row that brought nothing, LevelDB is taken for what ended them. */
const DEATHS_MAX = 2

export class HalfBuild {
  readonly #disk: Disk
  readonly #directory: string
  readonly #place: KeyValuePlace

  constructor(disk: Disk, directory: string, place: KeyValuePlace) {
    this.#disk = disk
    this.#directory = directory
    this.#place = place
  }

  /** undefined when there is none. */
  read(): ViewMarker | undefined {
    return readViewMarker(this.#disk, this.#directory, 'building')
  }

  /** undefined: it does not open, or did not too often. */
  async open(half: ViewMarker): Promise<KeyValue | undefined> {
    if (half.deaths >= DEATHS_MAX) return undefined
    this.#write({ ...half, deaths: half.deaths + 1 })
    return this.#place.open(half.name, false)
  }

  /** It has got on. */
  note({ name, identity }: { readonly name: string; readonly identity: string }): void {
    this.#write({ name, identity, opening: 0, deaths: 0, early: 0 })
  }

  /** It is whole, and the current one. */
  end(): void {
    if (this.#disk.list(this.#directory).includes('building')) {
      this.#disk.remove(`${this.#directory}/building`)
    }
  }

  async discard(name: string): Promise<void> {
    this.end()
    await this.#place.remove(name)
  }

  #write(marker: ViewMarker): void {
    writeViewMarker(this.#disk, this.#directory, marker, 'building')
  }
}
