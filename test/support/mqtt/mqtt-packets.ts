// MQTT packets built by hand, apart from the code under test.

const NOTHING = Buffer.alloc(0)

export const str = (text: string): Buffer => {
  const bytes = Buffer.from(text)
  return Buffer.concat([u16(bytes.length), bytes])
}

export const u16 = (value: number): Buffer => Buffer.of(value >> 8, value & 255)

export const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}

export function varint(value: number): Buffer {
  const bytes: number[] = []
  let left = value
  do {
    const byte = left % 128
    left = Math.floor(left / 128)
    bytes.push(left > 0 ? byte | 128 : byte)
  } while (left > 0)
  return Buffer.from(bytes)
}

export function frame(first: number, ...parts: readonly Uint8Array[]): Buffer {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.of(first), varint(body.length), body])
}

export interface ConnectShape {
  readonly version?: 3 | 4 | 5
  readonly clean?: boolean
  readonly keepAlive?: number
  /** MQTT 5: the encoded section without its length. */
  readonly properties?: Buffer
  readonly username?: string
  readonly password?: string
  readonly will?: { readonly topic: string; readonly payload: string; readonly flags?: number }
}

export function connect(clientId: string, shape: ConnectShape = {}): Buffer {
  const { version = 4, clean = true, keepAlive = 60, properties, username, password, will } = shape
  const flags =
    (clean ? 2 : 0) |
    (will === undefined ? 0 : 4 | (will.flags ?? 0)) |
    (username === undefined ? 0 : 128) |
    (password === undefined ? 0 : 64)
  const section = version === 5 ? [varint(properties?.length ?? 0), properties ?? NOTHING] : []
  const willProperties = version === 5 ? Buffer.of(0) : NOTHING
  const payload = [
    str(clientId),
    ...(will === undefined ? [] : [willProperties, str(will.topic), str(will.payload)]),
    ...(username === undefined ? [] : [str(username)]),
    ...(password === undefined ? [] : [str(password)]),
  ]
  const name = version === 3 ? 'MQIsdp' : 'MQTT'
  return frame(0x10, str(name), Buffer.of(version, flags), u16(keepAlive), ...section, ...payload)
}

export function publish(
  topic: string,
  payload: string | Buffer,
  shape: { qos?: number; id?: number; flags?: number; properties?: Buffer; version?: number } = {},
): Buffer {
  const { qos = 0, id = 1, flags = 0, properties, version = 4 } = shape
  return frame(
    0x30 | (qos << 1) | flags,
    str(topic),
    qos > 0 ? u16(id) : NOTHING,
    ...(version === 5 ? [varint(properties?.length ?? 0), properties ?? NOTHING] : []),
    Buffer.from(payload),
  )
}

export const subscribe = (
  id: number,
  filters: readonly (readonly [filter: string, options: number])[],
  version = 4,
  properties: Buffer = NOTHING,
): Buffer =>
  frame(
    0x82,
    u16(id),
    ...(version === 5 ? [varint(properties.length), properties] : []),
    ...filters.flatMap(([filter, options]) => [str(filter), Buffer.of(options)]),
  )

export const unsubscribe = (id: number, filters: readonly string[], version = 4): Buffer =>
  frame(0xa2, u16(id), ...(version === 5 ? [Buffer.of(0)] : []), ...filters.map(str))

export const ack = (type: 'puback' | 'pubrec' | 'pubrel' | 'pubcomp', id: number): Buffer =>
  frame({ puback: 0x40, pubrec: 0x50, pubrel: 0x62, pubcomp: 0x70 }[type], u16(id))

export const PINGREQ = Buffer.of(0xc0, 0)
export const PINGRESP = Buffer.of(0xd0, 0)
export const DISCONNECT = Buffer.of(0xe0, 0)
