// A session as it is saved: JSON, so that it can be read in an emergency and grow fields. What does
// not parse is treated as no session, never as a reason not to start.
import { z } from 'zod'
import { type LogPosition, logPosition, queueOffset } from '../../../model/positions.ts'
import { parseTagFilter } from '../../../model/tag-filter.ts'
import type { Properties } from '../packets/properties.ts'
import type { Qos } from '../packets/protocol.ts'
import type { InFlightEntry } from './in-flight.ts'
import { NEVER, Session, type Will } from './session.ts'
import type { Subscription } from './subscriptions.ts'

const FORMAT = 1

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

const savedSubscription = z.object({
  text: z.string(),
  filter: z.string(),
  share: z.object({ group: z.string(), topic: z.string(), tags: z.string() }).optional(),
  id: count.optional(),
  queue: z.string(),
  durable: z.boolean(),
  from: count,
  qos,
  noLocal: z.boolean(),
  retainAsPublished: z.boolean(),
  retainHandling: count,
})

const savedSession = z.object({
  format: z.literal(FORMAT),
  epoch: z.string(),
  user: z.string().optional(),
  /** null = never. */
  expiryMs: z.number().nullable(),
  cursor: count,
  nextId: count,
  nextSerial: count,
  subscriptions: z.array(savedSubscription),
  inFlight: z.array(z.tuple([count, count, qos, count])),
  inbound: z.array(z.tuple([count, count])),
  retainedDue: z.array(z.tuple([z.string(), z.string()])).optional(),
  will: savedWill.optional(),
  disconnectedMs: z.number().optional(),
})

export function encodeSession(session: Session): Buffer {
  const { inFlight, inbound, retainedDue, will } = session
  const saved: z.input<typeof savedSession> = {
    format: FORMAT,
    epoch: session.epoch,
    user: session.user,
    expiryMs: session.expiryMs === NEVER ? null : session.expiryMs,
    cursor: session.cursor,
    nextId: inFlight.nextId,
    nextSerial: inbound.nextSerial,
    subscriptions: [...session.subscriptions.values()].map(saveSubscription),
    // QoS 1 of a shared subscription goes back to its group when the connection is lost.
    inFlight: [...inFlight.slots()]
      .filter((slot) => inFlight.receiptAt(slot) === undefined || inFlight.qosAt(slot) === 2)
      .map((slot) => {
        const { packetId, position, qos, state } = inFlight.entryAt(slot)
        return [packetId, position, qos, state]
      }),
    inbound: inbound.saved(),
    retainedDue: retainedDue.size === 0 ? undefined : [...retainedDue],
    will: will && saveWill(will),
    disconnectedMs: session.disconnectedMs,
  }
  return Buffer.from(JSON.stringify(saved))
}

/** undefined when the bytes are no session of a format we know. */
export function decodeSession(clientId: string, bytes: Buffer): Session | undefined {
  const parsed = savedSession.safeParse(parseJson(bytes))
  if (!parsed.success) return undefined
  const saved = parsed.data
  const session = new Session(clientId, saved.epoch)
  session.user = saved.user
  session.expiryMs = saved.expiryMs ?? NEVER
  session.cursor = logPosition(saved.cursor)
  for (const one of saved.subscriptions) session.subscriptions.set(one.text, loadSubscription(one))
  session.inFlight.restore(saved.inFlight.map(loadInFlight), saved.nextId)
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

function saveSubscription(subscription: Subscription): z.input<typeof savedSubscription> {
  const { share, ...rest } = subscription
  return {
    ...rest,
    share: share && { group: share.group, topic: share.topic, tags: share.filter.expression },
  }
}

function loadSubscription(saved: z.output<typeof savedSubscription>): Subscription {
  const { share, id, from, ...rest } = saved
  return {
    ...rest,
    id,
    from: queueOffset(from),
    share: share && {
      group: share.group,
      topic: share.topic,
      filter: parseTagFilter(share.tags),
    },
  }
}

const loadInFlight = ([packetId, position, level, state]: [
  number,
  number,
  Qos,
  number,
]): InFlightEntry => ({
  packetId,
  position: logPosition(position) as LogPosition,
  qos: level,
  state,
})

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
