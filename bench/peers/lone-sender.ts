// A client of each protocol with one message in flight, over a raw socket: the next one goes out
// when the one before it was answered. Frames are built once and patched.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { CODEC_JSON } from '../../src/remoting/frame.ts'
import {
  AMQP_HEADER,
  attachSender,
  begin,
  encoded,
  handshake,
  transfer,
} from '../../test/support/amqp/raw-amqp.ts'
import { Histogram } from '../native/histogram.ts'
import { type LoadOptions, opaqueAt, putOpaque, sendFrame } from '../native/load.ts'
import { BARE_ANSWER, BARE_MESSAGE } from './bare-log.ts'

export type LoneProtocol = 'native' | 'MQTT' | 'AMQP' | 'bare'

interface Wire {
  /** Before the first message; `isReady` of what comes ends it. */
  readonly hello: Buffer
  readonly isReady: (frame: Buffer) => boolean
  readonly message: (number: number) => Buffer
  readonly isAnswer: (frame: Buffer) => boolean
  /** Of the frame that begins there; 0 while that cannot be told. */
  readonly lengthOf: (bytes: Buffer) => number
}

const TOPIC = 'bench-lone'
const WINDOW = 0x7fff_ffff
const ATTACHED = 0x13
const DISPOSITION = 0x15

export class LoneSender {
  readonly #socket: Socket
  readonly #wire: Wire
  #rest: Buffer = Buffer.alloc(0)
  #number = 0
  #came: (frame: Buffer) => void = () => {}

  static async connect(protocol: LoneProtocol, port: number): Promise<LoneSender> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    await once(socket, 'connect')
    const sender = new LoneSender(socket, WIRES[protocol]())
    await sender.#greet()
    return sender
  }

  private constructor(socket: Socket, wire: Wire) {
    this.#socket = socket
    this.#wire = wire
    socket.on('data', (bytes) => this.#read(bytes))
  }

  /** Sends so many, one after the other. @returns how many ms each took */
  send(count: number): Promise<number[]> {
    const times: number[] = []
    return new Promise((resolve) => {
      let startedMs = 0
      const next = (): void => {
        startedMs = performance.now()
        this.#socket.write(this.#wire.message(this.#number++))
      }
      this.#came = (frame) => {
        if (!this.#wire.isAnswer(frame)) return
        times.push(performance.now() - startedMs)
        if (times.length < count) next()
        else resolve(times)
      }
      next()
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  async #greet(): Promise<void> {
    const { hello, isReady } = this.#wire
    if (hello.length === 0) return
    await new Promise<void>((resolve) => {
      this.#came = (frame) => {
        if (isReady(frame)) resolve()
      }
      this.#socket.write(hello)
    })
  }

  #read(bytes: Buffer): void {
    let rest = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes])
    for (;;) {
      const length = this.#wire.lengthOf(rest)
      if (length === 0 || rest.length < length) break
      this.#came(rest.subarray(0, length))
      rest = rest.subarray(length)
    }
    this.#rest = rest
  }
}

const native = (): Wire => {
  const options: LoadOptions = {
    ...{ host: '', port: 0, index: 0, topic: TOPIC, queues: 1, inFlight: 1, bodyBytes: 100 },
    ...{ batch: 1, latency: new Histogram(), isSql: false, isTls: false },
    codec: CODEC_JSON,
  }
  const message = sendFrame(options, 0)
  const at = opaqueAt(message, CODEC_JSON)
  return {
    hello: Buffer.alloc(0),
    isReady: () => true,
    message: (number) => {
      putOpaque(message, at, number, CODEC_JSON)
      return message
    },
    isAnswer: (frame) => {
      if (frame.includes('{"code":0,')) return true
      throw new Error(`a message was refused: ${frame.toString('latin1')}`)
    },
    lengthOf: (bytes) => (bytes.length < 4 ? 0 : 4 + bytes.readUInt32BE(0)),
  }
}

const mqtt = (): Wire => {
  const connectFrame = Buffer.from('\x10\x10\0\x04MQTT\x04\x02\0\0\0\x04lone', 'latin1')
  const head = Buffer.concat([Buffer.of(0, TOPIC.length), Buffer.from(TOPIC)])
  const body = Buffer.concat([head, Buffer.alloc(2), Buffer.alloc(100, 'x')])
  const message = Buffer.concat([Buffer.of(0x32, body.length), body])
  return {
    hello: connectFrame,
    isReady: (frame) => frame[0] === 0x20,
    message: (number) => {
      message.writeUInt16BE(1 + (number % 65_535), 2 + head.length)
      return message
    },
    isAnswer: (frame) => frame[0] === 0x40,
    lengthOf: (bytes) => (bytes.length < 2 ? 0 : 2 + bytes[1]!),
  }
}

const amqp = (): Wire => {
  const session = { incoming_window: WINDOW, outgoing_window: WINDOW }
  const hello = Buffer.concat([handshake(), begin(0, session), attachSender(0, TOPIC)])
  const payload = encoded({ body: 'x'.repeat(100) })
  // Wide enough for any number.
  const first = 0x1111_1111
  const message = transfer({ handle: 0, delivery_id: first }, payload)
  const mark = Buffer.alloc(4)
  mark.writeUInt32BE(first)
  const at = message.indexOf(mark)
  const isOf = (frame: Buffer, code: number): boolean => frame[4] === 2 && frame[10] === code
  return {
    hello,
    isReady: (frame) => isOf(frame, ATTACHED) && frame[5] === 0,
    message: (number) => {
      message.writeUInt32BE(number, at)
      return message
    },
    isAnswer: (frame) => isOf(frame, DISPOSITION),
    lengthOf: (bytes) => {
      // A protocol header, which is no frame.
      if (bytes.length >= 8 && bytes.subarray(0, 4).equals(AMQP_HEADER.subarray(0, 4))) return 8
      return bytes.length < 8 ? 0 : bytes.readUInt32BE(0)
    },
  }
}

/** The least there is: no protocol. */
const bare = (): Wire => ({
  hello: Buffer.alloc(0),
  isReady: () => true,
  message: () => BARE_MESSAGE,
  isAnswer: () => true,
  lengthOf: () => BARE_ANSWER.length,
})

const WIRES: Readonly<Record<LoneProtocol, () => Wire>> = {
  ...{ native, MQTT: mqtt, AMQP: amqp, bare },
}
