// CONNECT and CONNACK.
import { CONNECT_BYTES_MAX } from '../limits.ts'
import { PacketReader } from './packet-reader.ts'
import {
  encodeProperties,
  encodeVarint,
  type Properties,
  readProperties,
  WILL,
} from './properties.ts'
import {
  malformed,
  PACKET,
  ProtocolError,
  type Qos,
  REASON,
  RETURN_CODE,
  type ReasonCode,
  type Version,
  violation,
} from './protocol.ts'
import { checkResponseTopic, isTopicName } from './topic-name.ts'

export interface WillMessage {
  readonly topic: string
  readonly payload: Buffer
  readonly qos: Qos
  readonly retain: boolean
  readonly properties: Properties
}

export interface ConnectPacket {
  readonly version: Version
  /** A broker that relays for its own clients; bridges of mosquitto say so in 3.1 and 3.1.1. */
  readonly isBridge: boolean
  readonly clean: boolean
  readonly keepAliveSeconds: number
  readonly clientId: string
  readonly properties: Properties
  readonly will: WillMessage | undefined
  readonly username: string | undefined
  readonly password: Buffer | undefined
}

/** The version cannot be served; `answer` is the CONNACK to send. */
export class UnsupportedVersion extends Error {
  readonly answer: Buffer

  constructor(version: number, answer: Buffer) {
    super(`protocol level ${version}`)
    this.answer = answer
  }
}

/** A refusal that a client of this version can still read: a reason code and no session. */
export class ConnectRefused extends ProtocolError {
  readonly version: Version

  constructor(version: Version, cause: ProtocolError) {
    super(cause.reason, cause.message, cause.silent)
    this.version = version
  }
}

const FLAG = { reserved: 1, clean: 2, will: 4, willRetain: 32, password: 64, username: 128 }

/** @throws UnsupportedVersion, ConnectRefused, ProtocolError (before the version is known) */
export function decodeConnect(
  first: number,
  bytes: Buffer,
  start: number,
  end: number,
): ConnectPacket {
  const reader = new PacketReader(bytes, start, end)
  const { version, isBridge } = readVersion(reader)
  // 3.1 gave the header's flags no meaning here; later versions reserve them (MQTT-3.1.2-3).
  if (version > 3 && (first & 15) !== 0) throw silent('CONNECT has header flags')
  try {
    return { ...readConnect(reader, version), isBridge }
  } catch (error) {
    throw error instanceof ProtocolError ? new ConnectRefused(version, error) : error
  }
}

/** Bytes of CONNECT that tell its version, whichever of the two protocol names it has. */
export const VERSION_BYTES = 9

/** The version of a CONNECT of which only the beginning is there. @throws as decodeConnect */
export const versionOf = (bytes: Buffer, start: number, end: number): Version =>
  readVersion(new PacketReader(bytes, start, end)).version

/** The version of a CONNECT of which there is only a part; undefined where it is not among that. */
export function incompleteVersion(packet: Buffer): Version | undefined {
  let at = 1
  while (at < packet.length && packet[at]! >= 128) at++
  try {
    return versionOf(packet, at + 1, packet.length)
  } catch {
    return undefined
  }
}

/** Added to the protocol level by bridges of mosquitto. */
const BRIDGE = 0x80

function readVersion(reader: PacketReader): { version: Version; isBridge: boolean } {
  const protocol = reader.binary('the protocol name').latin1Slice()
  if (protocol !== 'MQTT' && protocol !== 'MQIsdp') throw silent('the protocol is not MQTT')
  const level = reader.u8('the protocol level')
  const plain = level & ~BRIDGE
  const isBridge = level !== plain && plain < 5
  const known = isBridge ? plain : level
  if (protocol === 'MQTT' ? known === 4 || known === 5 : known === 3) {
    return { version: known as Version, isBridge }
  }
  // A level that belongs to the other name gets the answer 3.1.1 knows, an unknown one that of 5.
  throw new UnsupportedVersion(
    level,
    known === 3 || known === 4
      ? Buffer.of(0x20, 2, 0, RETURN_CODE.unacceptableVersion)
      : Buffer.of(0x20, 3, 0, REASON.unsupportedVersion, 0),
  )
}

function readConnect(reader: PacketReader, version: Version): Omit<ConnectPacket, 'isBridge'> {
  const flags = reader.u8('the connect flags')
  checkFlags(flags, version)
  if (reader.left < 2) throw silent('CONNECT ends within the keep alive')
  const keepAliveSeconds = reader.u16('the keep alive')
  const properties: Properties = version === 5 ? readProperties(reader, PACKET.connect) : {}
  if (properties.authData !== undefined && properties.authMethod === undefined) {
    throw violation('authentication data without a method')
  }
  const clientId = reader.name('the client id', REASON.clientIdInvalid)
  const will = flags & FLAG.will ? readWill(reader, version, flags) : undefined
  const username = flags & FLAG.username ? readUsername(reader) : undefined
  const password = flags & FLAG.password ? readPassword(reader) : undefined
  reader.finish('CONNECT')
  const clean = (flags & FLAG.clean) !== 0
  return { version, clean, keepAliveSeconds, clientId, properties, will, username, password }
}

function checkFlags(flags: number, version: Version): void {
  const willQos = (flags >>> 3) & 3
  // 3.1 has no use for the bit and does not forbid it.
  if (version > 3 && flags & FLAG.reserved) throw silent('the reserved connect flag is set')
  if (willQos === 3) throw silent('the will has QoS 3')
  if (!(flags & FLAG.will) && (willQos !== 0 || flags & FLAG.willRetain)) {
    throw silent('will flags without a will')
  }
  if (version < 5 && flags & FLAG.password && !(flags & FLAG.username)) {
    throw silent('a password without a user name')
  }
}

function readWill(reader: PacketReader, version: Version, flags: number): WillMessage {
  const properties: Properties = version === 5 ? readProperties(reader, WILL) : {}
  checkResponseTopic(properties)
  const topic = reader.name('the will topic')
  if (!isTopicName(topic)) {
    throw new ProtocolError(REASON.topicNameInvalid, 'the will topic is empty or has wildcards')
  }
  return {
    topic,
    payload: Buffer.from(reader.binary('the will payload')),
    qos: ((flags >>> 3) & 3) as Qos,
    retain: (flags & FLAG.willRetain) !== 0,
    properties: ownProperties(properties),
  }
}

/** Copies what would keep the socket's chunk. */
function ownProperties(properties: Properties): Properties {
  const data = properties.correlationData
  return data === undefined ? properties : { ...properties, correlationData: Buffer.from(data) }
}

function readUsername(reader: PacketReader): string {
  try {
    return reader.name('the user name')
  } catch (error) {
    throw error instanceof ProtocolError ? silent(error.message) : error
  }
}

function readPassword(reader: PacketReader): Buffer {
  if (reader.left < 2) throw silent('the password is missing')
  return Buffer.from(reader.binary('the password'))
}

const silent = (message: string): ProtocolError =>
  new ProtocolError(malformed('').reason, message, true)

/** `code` is a return code for 3.1 and 3.1.1, a reason code for 5. */
export function encodeConnack(
  version: Version,
  sessionPresent: boolean,
  code: ReasonCode,
  properties: Properties = {},
): Buffer {
  // 3.1 reserves the byte that later says whether a session was present.
  const head = [sessionPresent && version > 3 ? 1 : 0, code]
  if (version < 5) return Buffer.of(0x20, 2, ...head)
  const section = encodeProperties(properties)
  const length = encodeVarint(section.length)
  const total = encodeVarint(2 + length.length + section.length)
  return Buffer.concat([Buffer.of(0x20), total, Buffer.from(head), length, section])
}

export const connectTooLarge = (): ProtocolError =>
  new ProtocolError(REASON.packetTooLarge, `CONNECT has more than ${CONNECT_BYTES_MAX} bytes`)
