// The messages of the matrix, and what each client can say of one.
import { createHash } from 'node:crypto'

export const CLIENTS = ['ali-ons', 'mqtt3', 'mqtt5', 'rhea', 'sdk'] as const
export type ClientName = (typeof CLIENTS)[number]

export const KEYS_PER_PRODUCER = 10
/** Some bodies are so large that a client compresses them or splits them over frames. */
const LARGE_EVERY = 40
const LARGE_BYTES = 20_000

export interface Sample {
  readonly producer: ClientName
  /** The ordering key's number. */
  readonly lane: number
  /** Counts within the lane. */
  readonly n: number
}

export const idOf = ({ producer, lane, n }: Sample): string => `${producer}/${lane}/${n}`

export function sampleOf(id: string): Sample {
  const [producer, lane, n] = id.split('/')
  return { producer: producer as ClientName, lane: Number(lane), n: Number(n) }
}

export const orderingKeyOf = ({ producer, lane }: Sample): string => `${producer}-${lane}`
export const tagOf = ({ lane }: Sample): string => `tag${lane % 3}`
/** The first is the ordering key's: an MQTT topic can carry one key and then orders by it. */
export const keysOf = (sample: Sample): readonly string[] => [
  orderingKeyOf(sample),
  `message-${sample.lane}-${sample.n}`,
]

export const propertiesOf = (sample: Sample): Readonly<Record<string, string>> => ({
  source: sample.producer,
  n: String(sample.n),
  'ключ и знак': 'значение €',
})

/** The id, then text of any script; the same for the same sample. */
export function bodyOf(sample: Sample): string {
  const head = `${idOf(sample)}\n`
  const isLarge = sample.n % LARGE_EVERY === LARGE_EVERY - 1
  return isLarge ? head + 'мера за меру 为 😀 '.repeat(LARGE_BYTES / 32) : `${head}grüße 😀`
}

export const digestOf = (body: string | Uint8Array): string =>
  createHash('sha256').update(body).digest('base64')

/** A message as a consumer saw it; undefined is what its protocol does not tell. */
export interface Received {
  readonly body: Uint8Array
  readonly tag: string | undefined
  readonly keys: readonly string[]
  readonly orderingKey: string | undefined
  readonly properties: Readonly<Record<string, string>>
}

/** The same on its way from the client's process: bodies as id and digest. */
export interface Report {
  readonly id: string
  readonly digest: string
  readonly tag?: string | undefined
  readonly keys: readonly string[]
  readonly orderingKey?: string | undefined
  readonly properties: Readonly<Record<string, string>>
}

/** Ids of what is sent before the samples, until the members of the groups have their shares. */
const WARM_UP = 'warm-up'
export const warmUpBody = (round: number, n: number): string => `${WARM_UP}/${round}/${n}\n`
export const isWarmUp = (id: string): boolean => id.startsWith(`${WARM_UP}/`)
export const isOfRound = (id: string, round: number): boolean =>
  id.startsWith(`${WARM_UP}/${round}/`)

/** With the time at which the client had it. */
export interface Arrival extends Report {
  readonly atUs: number
}

export function reportOf(received: Received): Report {
  const { body, tag, keys, orderingKey, properties } = received
  const text = Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8')
  const id = text.slice(0, text.indexOf('\n'))
  return { id, digest: digestOf(body), tag, keys, orderingKey, properties }
}

interface Words {
  readonly keys: 'all' | 'first' | 'none'
  readonly orderingKey: boolean
  readonly properties: boolean
}

/** What a producer can put into its protocol. */
const SAYS: Readonly<Record<ClientName, Words>> = {
  'ali-ons': { keys: 'all', orderingKey: true, properties: true },
  mqtt3: { keys: 'first', orderingKey: false, properties: false },
  mqtt5: { keys: 'all', orderingKey: true, properties: true },
  rhea: { keys: 'all', orderingKey: true, properties: true },
  sdk: { keys: 'all', orderingKey: true, properties: true },
}

/** What a consumer can read out of its protocol; a 3.1.1 topic shows a key only where MQTT wrote it. */
const HEARS: Readonly<Record<ClientName, Words>> = {
  ...SAYS,
  mqtt3: { keys: 'none', orderingKey: false, properties: false },
}

const isMqtt = (client: ClientName): boolean => client === 'mqtt3' || client === 'mqtt5'

/** What a consumer must report of a sample, whoever sent it: no less, and nothing that nobody sent. */
export function expectedReport(sample: Sample, consumer: ClientName): Report {
  const says = SAYS[sample.producer]
  const hears = HEARS[consumer]
  const keys = says.keys === 'all' ? keysOf(sample) : keysOf(sample).slice(0, 1)
  const heardKeys = hears.keys === 'all' ? keys : isMqtt(sample.producer) ? keys.slice(0, 1) : []
  return {
    id: idOf(sample),
    digest: digestOf(bodyOf(sample)),
    tag: tagOf(sample),
    keys: heardKeys,
    orderingKey: says.orderingKey && hears.orderingKey ? orderingKeyOf(sample) : undefined,
    properties: says.properties && hears.properties ? propertiesOf(sample) : {},
  }
}
