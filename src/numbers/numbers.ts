// The registry of one broker process: every counter, gauge and histogram, to be read out by the
// status, the native protocol's runtime values and an exporter. Counting is a field bumped in
// place; all other work is done when the numbers are read.
import { type Declared, gauge, type Labels, NO_LABELS } from './declared.ts'
import { Histogram } from './histogram.ts'
import { shared } from './shared.ts'

export interface Counter {
  value: number
}

/** One number as it is now. */
export interface Reading {
  readonly declared: Declared
  readonly labels: Labels
  readonly value: number | Histogram
}

/** A counter is looked up where something else counts it: the operating system. */
export type Gauge = Declared<'gauge' | 'counter'>
export type SetGauge = (declared: Gauge, value: number, labels?: Labels) => void
type ReadGauges = (set: SetGauge) => void | Promise<void>

/** Of numbers with an open label, those beyond the most that they may have. */
const LEFT_OUT = gauge('trivet_series_left_out', 'series', {
  help: 'Series that this reading left out: numbers by topic, group or session tell the largest ones.',
})

export class Numbers {
  readonly #declared = new Map<string, Declared>([[LEFT_OUT.name, LEFT_OUT]])
  /** Counters and histograms by their names and labels. */
  readonly #cells = new Map<string, Reading & { readonly cell: Counter | Histogram }>()
  readonly #gauges = new Set<ReadGauges>()
  readonly #details = new Set<ReadGauges>()
  /**
   * Everything but details as it is now, by name. Gauges that cannot be read are left out. All that
   * ask during a reading share the next one: a hundred scrapes at once look at every group twice.
   */
  readonly read = shared(() => this.#collect(this.#gauges))
  /** With the details. */
  readonly readAll = shared(() => this.#collectAll())

  /** Every number that was declared, in the order of their names. */
  declared(): readonly Declared[] {
    return [...this.#declared.values()].toSorted((a, b) => compare(a.name, b.name))
  }

  /** The numbers exist, also before the first of them is counted. */
  declare(...all: readonly Declared[]): void {
    for (const one of all) {
      const known = this.#declared.get(one.name)
      if (known !== undefined && known !== one) {
        throw new Error(`the number '${one.name}' is declared twice`)
      }
      this.#declared.set(one.name, one)
    }
  }

  /** The one to bump; the same for the same labels. */
  counter(declared: Declared<'counter'>, labels: Labels = NO_LABELS): Counter {
    return this.#cell(declared, labels, () => ({ value: 0 })) as Counter
  }

  histogram(declared: Declared<'histogram'>, labels: Labels = NO_LABELS): Histogram {
    return this.#cell(declared, labels, () => new Histogram(declared.bounds ?? [])) as Histogram
  }

  /** A value that is there anyway, looked up when the numbers are read. */
  gauge(declared: Gauge, read: () => number, labels?: Labels): Disposable {
    return this.gauges([declared], (set) => set(declared, read(), labels))
  }

  /**
   * Several that one look finds. Of a label without a list of values the first are kept, as many
   * as may be: give the most important first.
   */
  gauges(declared: readonly Gauge[], read: ReadGauges): Disposable {
    return this.#lookUp(this.#gauges, declared, read)
  }

  /** Those of single topics and groups, too many for the tables of the native protocol. */
  details(declared: readonly Gauge[], read: ReadGauges): Disposable {
    return this.#lookUp(this.#details, declared, read)
  }

  /** What is looked up from here on is there until this is disposed of. */
  scope(): Disposable {
    const before = new Set([...this.#gauges, ...this.#details])
    return {
      [Symbol.dispose]: () => {
        for (const looks of [this.#gauges, this.#details]) {
          for (const look of looks) if (!before.has(look)) looks.delete(look)
        }
      },
    }
  }

  #lookUp(looks: Set<ReadGauges>, declared: readonly Gauge[], read: ReadGauges): Disposable {
    this.declare(...declared)
    looks.add(read)
    return { [Symbol.dispose]: () => looks.delete(read) }
  }

  async #collectAll(): Promise<readonly Reading[]> {
    let leftOut = 0
    const looks = [...this.#gauges, ...this.#details]
    looks.push((set) => set(LEFT_OUT, leftOut))
    return this.#collect(looks, () => leftOut++)
  }

  async #collect(
    looks: Iterable<ReadGauges>,
    tooMany: () => void = () => {},
  ): Promise<readonly Reading[]> {
    const readings: Reading[] = []
    for (const { declared, labels, cell } of this.#cells.values()) {
      readings.push({ declared, labels, value: cell instanceof Histogram ? cell : cell.value })
    }
    const counts = new Map<Declared, number>()
    const set: SetGauge = (declared, value, labels = NO_LABELS) => {
      const count = counts.get(declared) ?? 0
      counts.set(declared, count + 1)
      if (count < mostOf(declared)) readings.push({ declared, labels, value })
      else tooMany()
    }
    for (const look of looks) {
      try {
        await look(set)
      } catch {
        // A broker that is closing, or a disk that does not answer, hides no other number.
      }
    }
    return readings.toSorted((a, b) => compare(a.declared.name, b.declared.name))
  }

  #cell(
    declared: Declared,
    labels: Labels,
    create: () => Counter | Histogram,
  ): Counter | Histogram {
    this.declare(declared)
    const key = keyOf(declared.name, labels)
    let found = this.#cells.get(key)
    if (found === undefined) {
      checkLabels(declared, labels)
      found = { declared, labels, value: 0, cell: create() }
      this.#cells.set(key, found)
    }
    return found.cell
  }
}

const compare = (a: string, b: string): number => (a === b ? 0 : a < b ? -1 : 1)

/** 'name{label="value"}', as Prometheus writes it. */
export function keyOf(name: string, labels: Labels): string {
  const pairs = Object.entries(labels).map(([label, value]) => `${label}=${JSON.stringify(value)}`)
  return pairs.length === 0 ? name : `${name}{${pairs.join(',')}}`
}

/** How many values one reading may have. */
function mostOf({ labels = {}, seriesMax }: Declared): number {
  if (seriesMax !== undefined) return seriesMax
  let most = 1
  for (const values of Object.values(labels)) {
    most *= typeof values === 'number' ? values : values.length
  }
  return most
}

/** A label that came from a peer would have the numbers grow without end. */
function checkLabels({ name, labels: known = {} }: Declared, labels: Labels): void {
  for (const [label, value] of Object.entries(labels)) {
    const values = known[label]
    if (Array.isArray(values) && values.includes(value)) continue
    throw new Error(`the number '${name}' has no ${label} '${value}'`)
  }
}
