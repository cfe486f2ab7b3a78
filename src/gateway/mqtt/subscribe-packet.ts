// SUBSCRIBE and UNSUBSCRIBE, SUBACK and UNSUBACK.
import { FILTERS_PER_PACKET_MAX, TOPIC_BYTES_MAX } from './limits.ts'
import { PacketReader } from './packet-reader.ts'
import { encodeVarint, type Properties, readProperties, u16 } from './properties.ts'
import {
  malformed,
  PACKET,
  ProtocolError,
  type Qos,
  REASON,
  type ReasonCode,
  type Version,
  violation,
} from './protocol.ts'
import { type FilterName, parseFilter } from './topic-name.ts'

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
  /** undefined: no legal filter; answered per filter in MQTT 5. */
  readonly name: FilterName | undefined
}

export interface SubscribePacket {
  readonly packetId: number
  readonly subscriptionId: number | undefined
  readonly requests: readonly FilterRequest[]
}

export interface UnsubscribePacket {
  readonly packetId: number
  readonly filters: readonly FilterRequest[]
}

export function decodeSubscribe(
  bytes: Buffer,
  start: number,
  end: number,
  version: Version,
): SubscribePacket {
  const { reader, packetId, properties } = open(bytes, start, end, version, PACKET.subscribe)
  const requests: FilterRequest[] = []
  do {
    const text = readFilter(reader, version)
    const request = { ...text, ...readOptions(reader, version) }
    if (request.noLocal && request.name?.share !== undefined) {
      throw violation('No Local on a shared subscription') // MQTT-3.8.3-4
    }
    requests.push(request)
    checkCount(requests.length)
  } while (reader.left > 0)
  return { packetId, subscriptionId: properties.subscriptionIds?.[0], requests }
}

export function decodeUnsubscribe(
  bytes: Buffer,
  start: number,
  end: number,
  version: Version,
): UnsubscribePacket {
  const { reader, packetId } = open(bytes, start, end, version, PACKET.unsubscribe)
  const filters: FilterRequest[] = []
  const options = { qos: 0 as Qos, noLocal: false, retainAsPublished: false, retainHandling: 0 }
  do {
    filters.push({ ...readFilter(reader, version), ...options })
    checkCount(filters.length)
  } while (reader.left > 0)
  return { packetId, filters }
}

function open(bytes: Buffer, start: number, end: number, version: Version, type: number) {
  const reader = new PacketReader(bytes, start, end)
  const packetId = reader.u16('the packet id')
  if (packetId === 0) throw malformed('the packet id is 0')
  const properties: Properties = version === 5 ? readProperties(reader, type) : {}
  if (reader.left === 0) throw malformed('there is no filter')
  return { reader, packetId, properties }
}

function readFilter(reader: PacketReader, version: Version): Pick<FilterRequest, 'text' | 'name'> {
  const from = reader.at
  const text = reader.name('a topic filter')
  if (text === '') throw malformed('a topic filter is empty')
  const name = reader.at - from - 2 > TOPIC_BYTES_MAX ? undefined : parseFilter(text)
  if (name === undefined && version < 5) {
    throw malformed(`${JSON.stringify(text.slice(0, 80))} is no topic filter`)
  }
  return { text, name }
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

function checkCount(count: number): void {
  if (count > FILTERS_PER_PACKET_MAX) {
    throw new ProtocolError(
      REASON.quotaExceeded,
      `a packet may have ${FILTERS_PER_PACKET_MAX} filters`,
    )
  }
}

export function encodeSuback(version: Version, packetId: number, codes: readonly ReasonCode[]) {
  return encodeList(0x90, packetId, version === 5, codes)
}

/** 3.1 and 3.1.1 carry no codes. */
export function encodeUnsuback(version: Version, packetId: number, codes: readonly ReasonCode[]) {
  return encodeList(0xb0, packetId, version === 5, version === 5 ? codes : [])
}

function encodeList(
  first: number,
  packetId: number,
  isV5: boolean,
  codes: readonly ReasonCode[],
): Buffer {
  const body = Buffer.from([...(isV5 ? [0] : []), ...codes])
  return Buffer.concat([Buffer.of(first), encodeVarint(2 + body.length), u16(packetId), body])
}
