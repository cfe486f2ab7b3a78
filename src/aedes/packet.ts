// A packet as aedes hands it to its emitter and its persistence, and what is kept of one in a
// state: a line of JSON, and the payload's bytes behind it.

/** What there is of aedes's packets here; others are kept as they are. */
export interface Packet {
  readonly topic: string
  readonly cmd?: string | undefined
  readonly payload?: unknown
  readonly qos?: number | undefined
  readonly retain?: boolean | undefined
  readonly dup?: boolean | undefined
  readonly messageId?: number | undefined
  /** Of the aedes that published it, with its count there: by them aedes knows it again. */
  readonly brokerId?: string | undefined
  readonly brokerCounter?: number | undefined
  readonly clientId?: string | undefined
}

export type PacketFields = Record<string, unknown>

/** A packet in an outgoing queue: what is not in it has not been sent. */
export function queuedPacket(fields: PacketFields): Packet {
  const { cmd = 'publish', brokerId, brokerCounter, topic, payload, messageId } = fields
  const { qos = 0, retain = false, dup = false } = fields
  const known = { cmd, brokerId, brokerCounter, topic, payload, qos, retain, dup, messageId }
  const more = Object.entries(fields).filter(([name]) => CARRIED.has(name))
  return { ...(known as unknown as Packet), ...Object.fromEntries(more) }
}

/** aedes-packet's fields beside those that every packet has. */
const CARRIED: ReadonlySet<string> = new Set(['clientId', 'nl', 'properties', 'messageExpiry'])

const LINE_END = 10

export function encodeFields({ payload, ...fields }: PacketFields): Buffer {
  const isText = typeof payload === 'string'
  const body = isText ? Buffer.from(payload) : bytesOf(payload)
  const head = JSON.stringify({ fields, isText, hasPayload: payload !== undefined })
  return Buffer.concat([Buffer.from(`${head}\n`), body])
}

/** undefined for what was not encoded here. */
export function decodeFields(value: Buffer): PacketFields | undefined {
  const end = value.indexOf(LINE_END)
  if (end === -1) return undefined
  try {
    const { fields, isText, hasPayload } = JSON.parse(value.toString('utf8', 0, end)) as {
      fields: PacketFields
      isText: boolean
      hasPayload: boolean
    }
    if (!hasPayload) return fields
    const body = value.subarray(end + 1)
    return { ...fields, payload: isText ? body.toString() : Buffer.from(body) }
  } catch {
    return undefined
  }
}

/** Payloads of aedes are bytes or text; what else an emitter is given goes as JSON. */
export function bytesOf(payload: unknown): Uint8Array {
  if (payload instanceof Uint8Array) return payload
  if (typeof payload === 'string') return Buffer.from(payload)
  return payload === undefined ? NO_BYTES : Buffer.from(JSON.stringify(payload))
}

const NO_BYTES = Buffer.alloc(0)
