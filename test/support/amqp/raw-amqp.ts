// An AMQP peer made of bytes: says exactly what a test wants, right or wrong, in frames that rhea's
// codec writes. Reads everything and keeps it, unless told to stop.
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { connect, type Socket } from 'node:net'
import type { ExecutionContext } from 'ava'

type Fields = Record<string, unknown>
type Performative = object

interface RheaFrames {
  open(fields: Fields): Performative
  begin(fields: Fields): Performative
  attach(fields: Fields): Performative
  flow(fields: Fields): Performative
  transfer(fields: Fields): Performative
  disposition(fields: Fields): Performative
  detach(fields: Fields): Performative
  end(fields: Fields): Performative
  close(fields: Fields): Performative
  sasl_init(fields: Fields): Performative
  sasl_response(fields: Fields): Performative
  amqp_frame(channel: number, performative: Performative, payload?: Buffer): object
  sasl_frame(performative: Performative): object
  write_frame(frame: object): Buffer
  read_frame(bytes: Buffer): {
    type: number
    channel: number
    performative?: object
    payload?: Buffer
  }
}

interface RheaTerminus {
  source(fields: Fields): { described(): object }
  target(fields: Fields): { described(): object }
}

interface RheaMessage {
  accepted(): { described(): object }
  modified(fields: Fields): { described(): object }
  encode(message: Fields): Buffer
}

const require = createRequire(import.meta.url)
export const frames = require('rhea/lib/frames.js') as RheaFrames
const terminus = require('rhea/lib/terminus.js') as RheaTerminus
export const messages = require('rhea/lib/message.js') as RheaMessage

export const SASL_HEADER = Buffer.from('AMQP\u0003\u0001\u0000\u0000', 'latin1')
export const AMQP_HEADER = Buffer.from('AMQP\u0000\u0001\u0000\u0000', 'latin1')
export const HEARTBEAT = Buffer.from('0000000802000000', 'hex')

const copy = (bytes: Buffer): Buffer => Buffer.from(bytes)

export const frame = (
  name: keyof RheaFrames,
  fields: Fields = {},
  channel = 0,
  payload?: Buffer,
): Buffer => {
  const make = frames[name] as (fields: Fields) => Performative
  return copy(frames.write_frame(frames.amqp_frame(channel, make(fields), payload)))
}

export const saslFrame = (name: 'sasl_init' | 'sasl_response', fields: Fields): Buffer =>
  copy(frames.write_frame(frames.sasl_frame(frames[name](fields))))

export const source = (fields: Fields): object => terminus.source(fields).described()
export const target = (fields: Fields): object => terminus.target(fields).described()
export const accepted = (): object => messages.accepted().described()
export const encoded = (message: Fields): Buffer => copy(messages.encode(message))

const ANONYMOUS = saslFrame('sasl_init', {
  mechanism: 'ANONYMOUS',
  initial_response: Buffer.from('x'),
})
const BEGIN = { next_outgoing_id: 0, incoming_window: 1000, outgoing_window: 1000 }

/** Header, ANONYMOUS and open, all in one piece. */
export const handshake = (open: Fields = {}): Buffer =>
  Buffer.concat([
    SASL_HEADER,
    ANONYMOUS,
    AMQP_HEADER,
    frame('open', { container_id: 'raw', ...open }),
  ])

export const begin = (channel = 0, fields: Fields = {}): Buffer =>
  frame('begin', { ...BEGIN, ...fields }, channel)

/** The peer sends to the address. */
export const attachSender = (handle: number, address: string, fields: Fields = {}): Buffer =>
  frame('attach', {
    name: `s-${handle}`,
    handle,
    role: false,
    source: source({ address: 'here' }),
    target: target({ address }),
    initial_delivery_count: 0,
    ...fields,
  })

/** The peer reads from the address. */
export const attachReceiver = (handle: number, address: string, fields: Fields = {}): Buffer =>
  frame('attach', {
    name: `r-${handle}`,
    handle,
    role: true,
    source: source({ address }),
    target: target({ address: 'here' }),
    ...fields,
  })

export const flow = (fields: Fields): Buffer =>
  frame('flow', {
    next_incoming_id: 0,
    incoming_window: 1_000_000,
    next_outgoing_id: 0,
    outgoing_window: 1000,
    ...fields,
  })

export const transfer = (fields: Fields, payload: Buffer = encoded({ body: 'x' })): Buffer =>
  frame('transfer', { delivery_tag: Buffer.from('t'), message_format: 0, ...fields }, 0, payload)

export interface Came {
  /** 'open', 'attach', ... */
  readonly name: string
  readonly channel: number
  readonly fields: Fields
  readonly payload: Buffer | undefined
}

const WAIT_MS = 60_000

export async function connectRaw(t: ExecutionContext, port: number): Promise<RawPeer> {
  const socket = connect(port, '127.0.0.1')
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  return new RawPeer(socket)
}

export class RawPeer {
  readonly socket: Socket
  readonly closed: Promise<void>
  /** False: what comes is counted and forgotten. */
  keeps = true
  received = 0
  #bytes: Buffer = Buffer.alloc(0)
  /** Frames that were read before, and where the next one begins. */
  readonly #came: Came[] = []
  #cameBytes = 0
  #wake: (() => void) | undefined
  #isClosed = false

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk) => {
      this.received += chunk.length
      if (this.keeps) this.#bytes = Buffer.concat([this.#bytes, chunk])
      this.#wake?.()
    })
    socket.on('error', () => {})
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        this.#isClosed = true
        this.#wake?.()
        resolve()
      })
    })
  }

  /** All that came, from the first byte. */
  get bytes(): Buffer {
    return this.#bytes
  }

  send(...pieces: Buffer[]): void {
    this.socket.write(Buffer.concat(pieces))
  }

  /** Every frame of AMQP's that came so far, heartbeats left out. */
  came(): Came[] {
    let at = this.#cameBytes
    if (at === 0) {
      at = this.#bytes.indexOf(AMQP_HEADER)
      if (at === -1) return []
      at += AMQP_HEADER.length
    }
    while (this.#bytes.length - at >= 4) {
      const size = this.#bytes.readUInt32BE(at)
      if (this.#bytes.length - at < size) break
      const got = frames.read_frame(copy(this.#bytes.subarray(at, at + size)))
      at += size
      this.#cameBytes = at
      if (got.performative === undefined) continue
      const performative = got.performative as Fields & {
        constructor: { descriptor: { symbolic: string } }
      }
      const name = performative.constructor.descriptor.symbolic.split(':')[1] ?? ''
      this.#came.push({ name, channel: got.channel, fields: performative, payload: got.payload })
    }
    return [...this.#came]
  }

  /** Bytes of the longest frame of AMQP's that came so far. */
  get longest(): number {
    const bytes = this.#bytes
    let longest = 0
    for (let at = bytes.indexOf(AMQP_HEADER) + 8; bytes.length - at >= 4; ) {
      const size = bytes.readUInt32BE(at)
      longest = Math.max(longest, size)
      at += size
    }
    return longest
  }

  /** The n-th frame of this name, when it is there. */
  async frame(name: string, nth = 1): Promise<Came> {
    return this.until(() => this.came().filter((one) => one.name === name)[nth - 1], name)
  }

  /** What `look` finds as bytes come in. */
  async until<T>(look: () => T | undefined, what = 'it'): Promise<T> {
    const deadline = performance.now() + WAIT_MS
    for (;;) {
      const found = look()
      if (found !== undefined) return found
      const left = deadline - performance.now()
      if (left <= 0 || this.#isClosed) {
        const names = this.came().map((one) => one.name)
        const why = this.#isClosed ? 'closed' : 'in time'
        throw new Error(`${what} did not come (${why}); came: ${names.slice(0, 20).join(' ')}`)
      }
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, left)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#wake = undefined
    }
  }
}

/** Condition of the error a detach, end or close carries. */
export const conditionOf = (came: Came): string | undefined =>
  (came.fields['error'] as { condition?: string } | undefined)?.condition
