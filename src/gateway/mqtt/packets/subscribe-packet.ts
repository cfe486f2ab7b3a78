// SUBSCRIBE and UNSUBSCRIBE, SUBACK and UNSUBACK. A packet may be full of filters, so it is read in
// slices.
import type { SharedSlice } from '../../../clock.ts'
import { hasWildcardsInPlace } from '../../../model/topic-filter.ts'
import { FILTERS_PER_PACKET_MAX } from '../limits.ts'
import { PacketReader } from './packet-reader.ts'
import { encodeVarint, type Properties, readProperties, u16 } from './properties.ts'
import { malformed, PACKET, type Qos, type Version, violation } from './protocol.ts'
import { type FilterName, parseFilter, type TopicLimits, topicExcess } from './topic-name.ts'

export interface SubscribeOptions {
  readonly qos: Qos
  readonly noLocal: boolean
  readonly retainAsPublished: boolean
  /** 0 = retained messages now, 1 = only for a new subscription, 2 = never. */
  readonly retainHandling: number
}

export interface FilterRequest extends SubscribeOptions {
  /** As sent, the share included: what UNSUBSCRIBE compares with. */
  readonly text: string
  /** undefined: no legal filter (MQTT 5), or one that is not offered; answered per filter. */
  readonly name: FilterName | undefined
}

export interface SubscribePacket {
  readonly packetId: number
  readonly subscriptionId: number | undefined
  readonly requests: readonly FilterRequest[]
  /** Filters behind FILTERS_PER_PACKET_MAX, which are refused without a look. */
  readonly excess: number
}

export interface UnsubscribePacket {
  readonly packetId: number
  readonly filters: readonly FilterRequest[]
  readonly excess: number
}

/**
 * The packet is `bytes[start, end)`, which must not change before the promise settles.
 * @throws ProtocolError
 */
export async function decodeSubscribe(
  bytes: Buffer,
  start: number,
  end: number,
  version: Version,
  limits: TopicLimits,
  slice: SharedSlice,
): Promise<SubscribePacket> {
  const { reader, packetId, properties } = open(bytes, start, end, version, PACKET.subscribe)
  const requests: FilterRequest[] = []
  let excess = 0
  do {
    if (slice.isOver) await slice.rest()
    if (requests.length === FILTERS_PER_PACKET_MAX) {
      reader.skip('a topic filter')
      reader.u8('the subscription options')
      excess++
      continue
    }
    const text = readFilter(reader, version, limits)
    const request = { ...text, ...readOptions(reader, version) }
    if (request.noLocal && request.name?.share !== undefined) {
      throw violation('No Local on a shared subscription') // MQTT-3.8.3-4
    }
    requests.push(request)
  } while (reader.left > 0)
  return { packetId, subscriptionId: properties.subscriptionIds?.[0], requests, excess }
}

/** A bridge is not sent its own messages back, and passes on whether they are to be retained. */
export const ofBridge = (packet: SubscribePacket): SubscribePacket => ({
  ...packet,
  requests: packet.requests.map((request) => ({
    ...request,
    noLocal: request.name?.share === undefined,
    retainAsPublished: true,
  })),
})

/** As decodeSubscribe. @throws ProtocolError */
export async function decodeUnsubscribe(
  bytes: Buffer,
  start: number,
  end: number,
  version: Version,
  limits: TopicLimits,
  slice: SharedSlice,
): Promise<UnsubscribePacket> {
  const { reader, packetId } = open(bytes, start, end, version, PACKET.unsubscribe)
  const filters: FilterRequest[] = []
  const options = { qos: 0 as Qos, noLocal: false, retainAsPublished: false, retainHandling: 0 }
  let excess = 0
  do {
    if (slice.isOver) await slice.rest()
    if (filters.length === FILTERS_PER_PACKET_MAX) {
      reader.skip('a topic filter')
      excess++
    } else filters.push({ ...readFilter(reader, version, limits), ...options })
  } while (reader.left > 0)
  return { packetId, filters, excess }
}

function open(bytes: Buffer, start: number, end: number, version: Version, type: number) {
  const reader = new PacketReader(bytes, start, end)
  const packetId = reader.u16('the packet id')
  if (packetId === 0) throw malformed('the packet id is 0')
  const properties: Properties = version === 5 ? readProperties(reader, type) : {}
  if (reader.left === 0) throw malformed('there is no filter')
  return { reader, packetId, properties }
}

/**
 * A filter that the standard forbids makes the packet malformed; one that we do not offer is
 * refused alone.
 */
function readFilter(
  reader: PacketReader,
  version: Version,
  limits: TopicLimits,
): Pick<FilterRequest, 'text' | 'name'> {
  const text = reader.name('a topic filter')
  if (text === '') throw malformed('a topic filter is empty')
  if (version < 5 && !hasWildcardsInPlace(text)) {
    throw malformed(`${JSON.stringify(text.slice(0, 80))} is no topic filter`)
  }
  const isTaken = topicExcess(text, limits) === undefined
  return { text, name: isTaken ? parseFilter(text) : undefined }
}

function readOptions(reader: PacketReader, version: Version): SubscribeOptions {
  const options = reader.u8('the subscription options')
  const qos = options & 3
  const retainHandling = (options >>> 4) & 3
  const reserved = version === 5 ? options & 0xc0 : options & 0xfc
  if (qos === 3 || retainHandling === 3 || reserved !== 0) {
    throw malformed(`the subscription options are ${options}`)
  }
  return {
    qos: qos as Qos,
    noLocal: (options & 4) !== 0,
    retainAsPublished: (options & 8) !== 0,
    retainHandling,
  }
}

/** `codes`: one reason a filter. */
export function encodeSuback(version: Version, packetId: number, codes: Uint8Array): Buffer {
  return encodeList(0x90, packetId, version === 5, codes)
}

/** 3.1 and 3.1.1 carry no codes. */
export function encodeUnsuback(version: Version, packetId: number, codes: Uint8Array): Buffer {
  return encodeList(0xb0, packetId, version === 5, version === 5 ? codes : NOTHING)
}

const NOTHING = Buffer.alloc(0)

function encodeList(first: number, packetId: number, isV5: boolean, codes: Uint8Array): Buffer {
  const body = Buffer.concat([isV5 ? Buffer.of(0) : NOTHING, codes])
  return Buffer.concat([Buffer.of(first), encodeVarint(2 + body.length), u16(packetId), body])
}
