// A session as it is saved: JSON, so that it can be read in an emergency and grow fields. What does
// not parse is treated as no session, never as a reason not to start.
import { z } from 'zod'
import type { SharedSlice } from '../../../clock.ts'
import { logPosition, queueOffset } from '../../../model/positions.ts'
import { parseTagFilter } from '../../../model/tag-filter.ts'
import type { Home } from '../outgoing/home.ts'
import type { Properties } from '../packets/properties.ts'
import { HomeNames } from './home-names.ts'
import type { InFlightEntry } from './in-flight.ts'
import { QueuePlaces } from './queue-places.ts'
import { NEVER, Session, type Will } from './session.ts'
import type { Place, Subscription } from './subscriptions.ts'

/** Every subscription has a place on its light queue. */
const FORMAT = 2
/** The session has a place on each queue of its topics. */
const FORMAT_OF_TOPICS = 3
/** As `FORMAT`, with a part of the subscriptions; each of the others has a record of its own. */
const FORMAT_OF_PARTS = 4
/** For the name of a broker in the gateway's own process, which may get another name. */
export const OWN_BROKER = ''

const qos = z.union([z.literal(0), z.literal(1), z.literal(2)])
const count = z.int().min(0)

const savedProperties = z.looseObject({ correlationData: z.string().optional() })

const savedWill = z.object({
  topic: z.string(),
  payload: z.string(),
  qos,
  retain: z.boolean(),
  properties: savedProperties,
  delayMs: z.number(),
})

/** Broker, topic, queue id, from, next, floor. */
const savedPlace = z.tuple([z.string(), z.string(), count, count, count, count])

/** Broker, topic, and by queue id when it began (0: not known) and the offset on it (-1: none). */
const savedRow = z.tuple([z.string(), z.string(), z.array(count), z.array(z.int().min(-1))])

const savedSubscription = z.object({
  text: z.string(),
  filter: z.string(),
  share: z.object({ group: z.string(), topic: z.string(), tags: z.string() }).optional(),
  id: count.optional(),
  places: z.array(savedPlace),
  /** Is its light queue the session's own? */
  durable: z.boolean(),
  starts: z.array(savedRow).optional(),
  qos,
  noLocal: z.boolean(),
  retainAsPublished: z.boolean(),
  retainHandling: count,
})

const savedSession = z.object({
  format: z.union([z.literal(FORMAT), z.literal(FORMAT_OF_TOPICS), z.literal(FORMAT_OF_PARTS)]),
  epoch: z.string(),
  user: z.string().optional(),
  /** null = never. */
  expiryMs: z.number().nullable(),
  nextId: count,
  nextSerial: count,
  /** Each a `savedSubscription`; of those in parts the first. */
  subscriptions: z.array(z.unknown()),
  /** How many parts there are, with the first. */
  parts: count.optional(),
  places: z.array(savedRow).optional(),
  /** Broker and topic of the homes below. */
  homes: z.array(z.tuple([z.string(), z.string()])),
  /** Packet id, index of the home, its queue id, offset and stamp, QoS, state. */
  inFlight: z.array(z.tuple([count, count, count, count, count, qos, count])),
  inbound: z.array(z.tuple([count, count])),
  retainedDue: z.array(z.tuple([z.string(), z.string()])).optional(),
  will: savedWill.optional(),
  disconnectedMs: z.number().optional(),
})

/**
 * `ownBroker`: the name of the broker that the gateway's port is. `isWhole`: with all of its
 * subscriptions, also where there are several parts of them.
 */
export function encodeSession(session: Session, ownBroker: string, isWhole: boolean): Buffer {
  const { inFlight, inbound, retainedDue, will } = session
  const names = new HomeNames()
  // QoS 1 of a shared subscription goes back to its group when the connection is lost.
  const entries = [...inFlight.slots()]
    .filter((slot) => inFlight.receiptAt(slot) === undefined || inFlight.qosAt(slot) === 2)
    .map((slot) => saveInFlight(inFlight.entryAt(slot), names))
  const places = session.reading?.places ?? session.places
  const { parts } = session.subscriptions
  const isInParts = !isWhole && parts !== undefined
  const saved: Omit<z.input<typeof savedSession>, 'subscriptions'> = {
    format: isInParts ? FORMAT_OF_PARTS : places === undefined ? FORMAT : FORMAT_OF_TOPICS,
    parts: isInParts ? parts.count : undefined,
    epoch: session.epoch,
    user: session.user,
    expiryMs: session.expiryMs === NEVER ? null : session.expiryMs,
    nextId: inFlight.nextId,
    nextSerial: inbound.nextSerial,
    places: saveRows(places, ownBroker),
    homes: [...names].map(({ brokerName, topic }) => [saveBroker(brokerName, ownBroker), topic]),
    inFlight: entries,
    inbound: inbound.saved(),
    retainedDue: retainedDue.size === 0 ? undefined : [...retainedDue],
    will: will && saveWill(will),
    disconnectedMs: session.disconnectedMs,
  }
  const head = JSON.stringify(saved).slice(0, -1)
  const subscriptions = isInParts
    ? takePart(session, 0, ownBroker)
    : [...session.subscriptions.values()].map((one) => textOf(one, ownBroker)).join(',')
  return Buffer.from(`${head},"subscriptions":[${subscriptions}]}`)
}

/** So that to save the part takes less time then. */
export function encodePartAhead({ subscriptions }: Session, number: number, own: string): void {
  subscriptions.parts!.encode(number, (text) => textOf(subscriptions.get(text)!, own))
}

export const encodePart = (session: Session, number: number, ownBroker: string): Buffer =>
  Buffer.from(`[${takePart(session, number, ownBroker)}]`)

const takePart = ({ subscriptions }: Session, number: number, own: string): string =>
  subscriptions.parts!.takeEncoded(number, (text) => textOf(subscriptions.get(text)!, own))

interface Source {
  readonly ownBroker: string
  /** Of the subscriptions, of which there may be thousands. */
  readonly slice: SharedSlice
  readonly loadPart: (number: number) => Promise<Buffer | undefined>
}

/** undefined when the bytes are no session of a format we know, or a part of it is not. */
export async function decodeSession(
  clientId: string,
  bytes: Buffer,
  source: Source,
): Promise<Session | undefined> {
  const saved = parsed(bytes)
  const session = saved && restored(clientId, saved, source.ownBroker)
  if (session === undefined) return undefined
  const { subscriptions } = session
  const isInParts = saved!.format === FORMAT_OF_PARTS
  const areRead = await readSubscriptions(saved!.subscriptions, source, (one) =>
    isInParts ? subscriptions.restore(one, 0) : subscriptions.set(one),
  )
  if (!areRead) return undefined
  for (let number = 1; number < (saved!.parts ?? 0); number++) {
    const part = await source.loadPart(number)
    // Its subscriptions went, and the session that says so is not in the log yet.
    if (part === undefined) continue
    const list = parseJson(part)
    if (!Array.isArray(list)) return undefined
    const isRead = await readSubscriptions(list, source, (one) =>
      subscriptions.restore(one, number),
    )
    if (!isRead) return undefined
  }
  return session
}

/** Without its subscriptions. */
export function decodeHead(
  clientId: string,
  bytes: Buffer,
  ownBroker: string,
): Session | undefined {
  const saved = parsed(bytes)
  return saved && restored(clientId, saved, ownBroker)
}

type Saved = z.output<typeof savedSession>

const parsed = (bytes: Buffer): Saved | undefined => savedSession.safeParse(parseJson(bytes)).data

/** False: one of them is none. */
async function readSubscriptions(
  list: readonly unknown[],
  { slice, ownBroker }: Source,
  add: (subscription: Subscription) => void,
): Promise<boolean> {
  for (const one of list) {
    if (slice.isOver) await slice.rest()
    const { data } = savedSubscription.safeParse(one)
    if (data === undefined) return false
    add(loadSubscription(data, ownBroker))
  }
  return true
}

function restored(clientId: string, saved: Saved, ownBroker: string): Session | undefined {
  const homes = saved.homes.map(([name, topic]) => ({
    brokerName: loadBroker(name, ownBroker),
    topic,
  }))
  if (saved.inFlight.some(([, name]) => name >= homes.length)) return undefined
  const session = new Session(clientId, saved.epoch)
  session.user = saved.user
  session.expiryMs = saved.expiryMs ?? NEVER
  session.places = loadRows(saved.places, ownBroker)
  session.inFlight.restore(
    saved.inFlight.map((one) => loadInFlight(one, homes)),
    saved.nextId,
  )
  session.inbound.restore(saved.inbound, saved.nextSerial)
  for (const [text, after] of saved.retainedDue ?? []) session.retainedDue.set(text, after)
  session.will = saved.will && loadWill(saved.will)
  session.disconnectedMs = saved.disconnectedMs
  return session
}

function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString())
  } catch {
    return undefined
  }
}

const saveBroker = (name: string, own: string): string => (name === own ? OWN_BROKER : name)
const loadBroker = (name: string, own: string): string => (name === OWN_BROKER ? own : name)

/** As `savedSubscription`. Written by hand: a session may have thousands. */
function textOf(subscription: Subscription, own: string): string {
  const { share, starts, bound, text, filter, id, qos } = subscription
  const { noLocal, retainAsPublished, retainHandling } = subscription
  let saved = `{"text":${JSON.stringify(text)},"filter":${JSON.stringify(filter)},"qos":${qos}`
  saved += `,"noLocal":${noLocal},"retainAsPublished":${retainAsPublished}`
  saved += `,"retainHandling":${retainHandling},"durable":${bound === 'owned'}`
  if (id !== undefined) saved += `,"id":${id}`
  if (share !== undefined) {
    const { group, topic } = share
    saved += `,"share":${JSON.stringify({ group, topic, tags: share.filter.expression })}`
  }
  if (starts !== undefined) saved += `,"starts":${JSON.stringify(saveRows(starts, own))}`
  let places = ''
  for (const { brokerName, topic, queueId, from, next, floor } of subscription.places) {
    const name = JSON.stringify(saveBroker(brokerName, own))
    const place = `[${name},${JSON.stringify(topic)},${queueId},${from},${next},${floor}]`
    places += places === '' ? place : `,${place}`
  }
  return `${saved},"places":[${places}]}`
}

function loadSubscription(
  saved: z.output<typeof savedSubscription>,
  ownBroker: string,
): Subscription {
  const { share, id, places, starts, durable, ...rest } = saved
  return {
    ...rest,
    bound: durable ? 'owned' : 'live',
    id,
    starts: loadRows(starts, ownBroker),
    places: places.map((place) => loadPlace(place, ownBroker)),
    share: share && {
      group: share.group,
      topic: share.topic,
      filter: parseTagFilter(share.tags),
    },
  }
}

type Rows = z.output<typeof savedRow>[]

const saveRows = (places: QueuePlaces | undefined, own: string): Rows | undefined =>
  places &&
  [...places.rows()].map(({ topic, brokerName, bornMs, offsets }) => [
    saveBroker(brokerName, own),
    topic,
    bornMs,
    offsets,
  ])

const loadRows = (saved: Rows | undefined, own: string): QueuePlaces | undefined =>
  saved &&
  new QueuePlaces(
    saved.map(([name, topic, bornMs, offsets]) => {
      return { topic, brokerName: loadBroker(name, own), bornMs, offsets }
    }),
  )

function loadPlace(saved: z.output<typeof savedPlace>, ownBroker: string): Place {
  const [name, topic, queueId, from, next, floor] = saved
  return {
    ...{ topic, brokerName: loadBroker(name, ownBroker), queueId },
    ...{ from: queueOffset(from), next: queueOffset(next), floor: logPosition(floor) },
  }
}

const saveInFlight = (
  { packetId, home, qos, state }: InFlightEntry,
  names: HomeNames,
): z.input<typeof savedSession>['inFlight'][number] => [
  packetId,
  names.indexOf(home),
  home.queueId,
  home.offset,
  home.stamp,
  qos,
  state,
]

function loadInFlight(
  saved: z.output<typeof savedSession>['inFlight'][number],
  homes: readonly Pick<Home, 'brokerName' | 'topic'>[],
): InFlightEntry {
  const [packetId, name, queueId, offset, stamp, qos, state] = saved
  return {
    ...{ packetId, qos, state },
    home: { ...homes[name]!, queueId, offset: queueOffset(offset), stamp },
  }
}

function saveWill(will: Will): z.input<typeof savedWill> {
  const { correlationData, ...properties } = will.properties
  return {
    topic: will.topic,
    payload: will.payload.toString('base64'),
    qos: will.qos,
    retain: will.retain,
    delayMs: will.delayMs,
    properties: { ...properties, correlationData: correlationData?.toString('base64') },
  }
}

function loadWill(saved: z.output<typeof savedWill>): Will {
  const { correlationData, ...properties } = saved.properties
  const loaded = properties as Properties
  if (correlationData !== undefined) loaded.correlationData = Buffer.from(correlationData, 'base64')
  return { ...saved, payload: Buffer.from(saved.payload, 'base64'), properties: loaded }
}
