// What a number is: its name, meaning, unit and labels, declared once beside what it counts. Names
// are Prometheus's, and Apache RocketMQ's where it has the number, so that an exporter can only
// read them out.

export type Kind = 'counter' | 'gauge' | 'histogram'
export type Unit =
  | 'messages'
  | 'bytes'
  | 'seconds'
  | 'ratio'
  | 'connections'
  | 'requests'
  | 'records'
  | 'ranges'
  | 'links'
  | 'sessions'
  | 'subscriptions'
  | 'topics'
  | 'groups'
  | 'clients'
  | 'builds'
  | 'series'
  | 'spans'
  | 'elections'
  | '0 or 1'

export interface Declared<K extends Kind = Kind> {
  readonly kind: K
  readonly name: string
  /** A whole sentence. */
  readonly help: string
  readonly unit: Unit
  /** By name: every value there is, or how many there may be at most. */
  readonly labels?: Readonly<Record<string, readonly string[] | number>>
  /** Upper ends of a histogram's buckets, ascending; values above the last are counted too. */
  readonly bounds?: readonly number[]
  /** Series of one reading; default: as many as the labels have values together. */
  readonly seriesMax?: number
}

const declared =
  <K extends Kind>(kind: K) =>
  (
    name: string,
    unit: Unit,
    rest: Pick<Declared, 'help' | 'labels' | 'bounds' | 'seriesMax'>,
  ): Declared<K> => ({
    ...{ kind, name, unit },
    ...rest,
  })

export const counter = declared('counter')
export const gauge = declared('gauge')
export const histogram = declared('histogram')

export type Labels = Readonly<Record<string, string>>

export const NO_LABELS: Labels = {}

/** What has nothing to do with one protocol may be counted by any. */
export const PROTOCOL_LABEL = { protocol_type: ['remoting', 'mqtt', 'amqp'] } as const

/** As RocketMQ's numbers tell it. */
export const BOOLEANS: readonly string[] = ['true', 'false']

/** Of a time in a broker; RocketMQ's own steps (`putMessageDistributeTime`) are among them. */
export const SECONDS_BOUNDS: readonly number[] = [
  0.000_25, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 10,
]
