// Data-driven wire tests: packet sequences with a small grammar, one TCP connection each, run
// against any MQTT server. The data lies beside the checkout, not in it.
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { RawPeer } from '../peers/raw-peer.ts'
import {
  ack,
  connect,
  frame,
  PINGREQ,
  PINGRESP,
  publish,
  u16,
  u32,
  varint,
} from './mqtt-packets.ts'

interface Message {
  readonly type: 'send' | 'recv' | 'external_publish' | 'subscribe' | 'unsubscribe'
  readonly payload?: string
  readonly topic?: string
  readonly qos?: number
  readonly retain?: boolean
}

interface Test {
  readonly name: string
  readonly ver?: number
  readonly connect?: boolean
  readonly expect_disconnect?: boolean
  readonly msgs: readonly Message[]
}

interface Group extends Omit<Test, 'name' | 'msgs'> {
  readonly group: string
  readonly disable?: boolean
  readonly tests: readonly Test[]
}

export interface WireCase {
  /** Group and name; a name that occurs again gets a number. */
  readonly name: string
  readonly clientId: string
  readonly version: 3 | 4 | 5
  readonly connects: boolean
  readonly endsClosed: boolean
  readonly messages: readonly Message[]
}

/** undefined when the directory is not there. */
export function loadWireCases(directory: string): WireCase[] | undefined {
  if (!existsSync(directory)) return undefined
  const seen = new Map<string, number>()
  const files = readdirSync(directory).filter((name) => name.endsWith('.json'))
  return files.sort().flatMap((file) => {
    const groups = JSON.parse(readFileSync(join(directory, file), 'utf8')) as Group[]
    return groups
      .filter(({ disable }) => disable !== true)
      .flatMap((group) => group.tests.map((test) => caseOf(group, test, seen)))
  })
}

function caseOf(group: Group, test: Test, seen: Map<string, number>): WireCase {
  const clientId = `${group.group} ${test.name}`
  const times = (seen.get(clientId) ?? 0) + 1
  seen.set(clientId, times)
  return {
    name: times === 1 ? clientId : `${clientId} (${times})`,
    clientId,
    version: (test.ver ?? group.ver ?? 4) as 3 | 4 | 5,
    connects: test.connect ?? group.connect ?? true,
    endsClosed: test.expect_disconnect ?? group.expect_disconnect ?? true,
    messages: test.msgs,
  }
}

/** Runs one case. @throws with what was different */
export async function runWireCase(test: WireCase, port: number): Promise<void> {
  const peer = await RawPeer.connect(port)
  try {
    if (test.connects) await openPeer(peer, test)
    for (const message of test.messages) await step(peer, message, test, port)
    if (test.endsClosed) {
      const rest = await peer.closed(WAIT_MS)
      if (rest.length > 0) throw new Error(`before closing came ${rest.toString('hex')}`)
      return
    }
    peer.send(PINGREQ)
    await expectBytes(peer, PINGRESP)
    // The next case must not find this one's subscriptions.
    await peer.leave()
  } finally {
    peer.end()
  }
}

const WAIT_MS = 10_000
const RECEIVE_MAXIMUM_20 = Buffer.of(0x21, 0, 20)

async function openPeer(peer: RawPeer, test: WireCase): Promise<void> {
  const { clientId, version } = test
  peer.send(connect(clientId, { version, properties: RECEIVE_MAXIMUM_20 }))
  await expectConnack(peer, 0, 0)
}

async function step(peer: RawPeer, message: Message, test: WireCase, port: number): Promise<void> {
  const { topic = '', qos = 0, payload = '' } = message
  const isV5 = test.version === 5
  switch (message.type) {
    case 'send':
      peer.send(parsePayload(payload))
      return
    case 'recv':
      await receive(peer, parsePayload(payload), isV5)
      return
    case 'external_publish':
      await publishByOther(port, message)
      return
    case 'subscribe': {
      const section = isV5 ? Buffer.of(0) : Buffer.alloc(0)
      peer.send(frame(0x82, u16(1), section, text(topic), Buffer.of(qos)))
      await expectBytes(peer, frame(0x90, u16(1), section, Buffer.of(qos)))
      return
    }
    default: {
      const section = isV5 ? Buffer.of(0) : Buffer.alloc(0)
      peer.send(frame(0xa2, u16(1), section, text(topic)))
      await expectBytes(peer, frame(0xb0, u16(1), section, isV5 ? Buffer.of(0) : section))
    }
  }
}

/** Servers differ in CONNACK's properties, so only type, flags and code are compared. */
async function receive(peer: RawPeer, wanted: Buffer, isV5: boolean): Promise<void> {
  if (isV5 && wanted[0] === 0x20) {
    const head = wanted[1]! < 128 ? 2 : 3
    await expectConnack(peer, wanted[head]!, wanted[head + 1]!)
  } else await expectBytes(peer, wanted)
}

async function expectConnack(peer: RawPeer, flags: number, code: number): Promise<void> {
  const { first, body } = await peer.readPacket(WAIT_MS)
  if (first !== 0x20 || body[0] !== flags || body[1] !== code) {
    throw new Error(`expected CONNACK ${flags} ${code}, got ${first} ${body.toString('hex')}`)
  }
}

async function expectBytes(peer: RawPeer, wanted: Buffer): Promise<void> {
  const got = await peer.read(wanted.length, WAIT_MS)
  if (!got.equals(wanted)) {
    throw new Error(`expected ${wanted.toString('hex')}, got ${got.toString('hex')}`)
  }
}

/** A case that broke off must not leave its retained messages to the others. */
export async function clearRetained(test: WireCase, port: number): Promise<void> {
  for (const { type, payload = '' } of test.messages) {
    const bytes = type === 'send' ? parsePayload(payload) : Buffer.alloc(0)
    if (bytes.length < 4 || (bytes[0]! & 0xf1) !== 0x31) continue
    const topic = bytes.subarray(4, 4 + bytes.readUInt16BE(2)).toString()
    await publishByOther(port, { type: 'external_publish', topic, qos: 1, retain: true })
  }
}

async function publishByOther(port: number, message: Message): Promise<void> {
  const { topic = '', payload = '', qos = 0, retain = false } = message
  const other = await RawPeer.connect(port)
  try {
    other.send(connect('other client'))
    await expectBytes(other, Buffer.of(0x20, 2, 0, 0))
    other.send(publish(topic, payload, { qos, flags: retain ? 1 : 0 }))
    if (qos === 1) await expectBytes(other, ack('puback', 1))
    if (qos === 2) {
      await expectBytes(other, ack('pubrec', 1))
      other.send(ack('pubrel', 1))
      await expectBytes(other, ack('pubcomp', 1))
    }
  } finally {
    other.end()
  }
}

const text = (value: string): Buffer =>
  Buffer.concat([u16(Buffer.byteLength(value)), Buffer.from(value)])

/**
 * The data's grammar: hex bytes, decimal numbers of some width, variable-length integers, quoted
 * text.
 */
export function parsePayload(payload: string): Buffer {
  const items = payload.match(/'[^']*'|\S+/g) ?? []
  return Buffer.concat(items.map(parseItem))
}

function parseItem(item: string): Buffer {
  const kind = item[0]!
  if (kind === "'") return Buffer.from(item.slice(1, -1))
  const value = Number(item.slice(1))
  if (kind === 'i') return Buffer.of(value)
  if ('Hkms'.includes(kind)) return u16(value)
  if (kind === 'L') return u32(value)
  if (kind === 'v' || kind === 'r') return varint(value)
  if (!/^([0-9A-Fa-f]{2})+$/.test(item)) throw new Error(`'${item}' is not in the grammar`)
  return Buffer.from(item, 'hex')
}
