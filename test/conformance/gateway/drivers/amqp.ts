// AMQP 1.0 for the suite over the front-ends: an unmodified rhea client, and frames for the rest.
import type { Socket } from 'node:net'
import rhea from 'rhea'
import { AmqpGateway } from '../../../../src/gateway/amqp/server.ts'
import {
  attachReceiver,
  attachSender,
  begin,
  flow,
  frame,
  handshake,
  transfer,
} from '../../../support/amqp/raw-amqp.ts'
import {
  connectRhea,
  type EventContext,
  next,
  type RheaClient,
  type RheaReceiver,
  type RheaSender,
} from '../../../support/amqp/rhea-client.ts'
import type { Client, Delivery, Driver, Labels, Reader, Verdict } from '../driver.ts'

const CREDIT = 100
const BOUNDLESS = 0x7fff_ffff

function rawFrame(body: Buffer, type: number, channel: number): Buffer {
  const head = Buffer.alloc(8)
  head.writeUInt32BE(8 + body.length)
  head[4] = 2
  head[5] = type
  head.writeUInt16BE(channel, 6)
  return Buffer.concat([head, body])
}

export const amqp: Driver = {
  name: 'AMQP',
  gateway: (context) =>
    new AmqpGateway(context, { authFailureDelayMs: 0, unstoredBytesMax: 200_000 }),
  connect: async (t, port, login) => {
    const options = login && { username: login.user, password: login.password }
    return new AmqpClient(await connectRhea(t, port, options))
  },
  says: ['tag', 'key', 'properties'],
  outcomes: ['retry', 'release', 'reject'],
  goodbye: 'amqp:connection:forced',
  hellos: [
    handshake(),
    handshake({ container_id: 'raw', desired_capabilities: ['sole-connection-for-container'] }),
  ],
  frames: [
    begin(),
    attachSender(0, 'fuzzed'),
    attachReceiver(1, 'fuzzed'),
    flow({ handle: 1, delivery_count: 0, link_credit: 10 }),
    transfer({ handle: 0, delivery_id: 0 }),
    frame('disposition', { role: true, first: 0, settled: true }),
    frame('detach', { handle: 0, closed: true }),
    frame('end'),
    frame('close'),
  ],
  randomFrame: (random) => rawFrame(random.bytes(random.int(60)), random.int(3), random.int(2)),
  overLimit: [
    ['a frame over the limit', '00010001 02000000'],
    ['a frame of no bytes', '00000000 02000000'],
  ].map(([what, hex]) => ({
    what: what!,
    bytes: Buffer.from(hex!.replace(' ', ''), 'hex'),
    says: 'amqp:connection:framing-error',
  })),
  greedy: (topic) =>
    Buffer.concat([
      handshake(),
      begin(0, { incoming_window: BOUNDLESS }),
      attachReceiver(0, `${topic}::G`, { snd_settle_mode: 1 }),
      flow({ incoming_window: BOUNDLESS, handle: 0, delivery_count: 0, link_credit: 1_000_000 }),
    ]),
  acknowledges: () => false,
}

const socketOf = ({ connection }: RheaClient): Socket =>
  (connection as unknown as { socket: Socket }).socket

const settled = ({ kind }: { kind: string }): Verdict =>
  kind === 'accepted' ? 'accepted' : 'refused'

class AmqpClient implements Client {
  readonly ended: Promise<string>
  readonly #client: RheaClient
  readonly #senders = new Map<string, Promise<OpenSender>>()
  #line: Promise<unknown> = Promise.resolve()

  constructor(client: RheaClient) {
    this.#client = client
    let goodbye = 'no word'
    const { connection } = client
    connection.on('connection_error', () => {
      goodbye = (connection.error as { condition?: string } | undefined)?.condition ?? goodbye
    })
    // rhea tells of an outcome a moment after it has read it.
    this.ended = new Promise((resolve) => {
      socketOf(client).once('close', () => setImmediate(() => resolve(goodbye)))
    })
  }

  /** One after the other, for rhea keeps no more than some thousands that wait for credit. */
  async send(topic: string, body: Buffer | string, labels: Labels = {}): Promise<Verdict> {
    const { tag, key, properties } = labels
    const message = {
      ...(tag && { subject: tag }),
      application_properties: { ...properties, ...(key && { KEYS: key }) },
      body: rhea.message.data_section(Buffer.from(body)),
    }
    const over = this.ended.then((): Verdict => 'unanswered')
    let outcome: Promise<Verdict> = over
    this.#line = this.#line.then(async () => {
      try {
        const sender = await Promise.race([this.#sender(topic), over])
        if (typeof sender === 'string') return
        const { link, gone } = sender
        const sendable = link.link as never as { sendable(): boolean }
        if (!sendable.sendable()) await Promise.race([next(link.link as never, 'sendable'), gone])
        outcome = Promise.race([link.send(message).then(settled), over, gone])
      } catch {
        outcome = Promise.resolve('refused')
      }
    })
    await this.#line
    return outcome
  }

  async reader(topic: string, group: string): Promise<Reader> {
    const receiver = await this.#client.receiver(`${topic}::${group}`)
    const over = Promise.race([this.ended, detached(receiver)]).then((): never => {
      throw new Error('the link ended')
    })
    over.catch(() => {})
    receiver.credit(CREDIT)
    return { take: () => this.#take(receiver, over) }
  }

  /** A session that is opened and closed. */
  async ping(): Promise<void> {
    const session = this.#client.connection.create_session()
    const opened = next(session as never, 'session_open')
    session.begin()
    await opened
    session.close()
  }

  leave(): Promise<void> {
    return this.#client.close()
  }

  cut(): void {
    socketOf(this.#client).destroy()
  }

  #sender(topic: string): Promise<OpenSender> {
    let sender = this.#senders.get(topic)
    if (sender === undefined) {
      const forget = (): void => void this.#senders.delete(topic)
      sender = this.#client.sender(topic).then((link) => {
        const gone = Promise.race([this.ended, detached(link)]).then((): Verdict => 'unanswered')
        void gone.then(forget)
        return { link, gone }
      })
      this.#senders.set(topic, sender)
      sender.catch(forget)
    }
    return sender
  }

  async #take(receiver: RheaReceiver, over: Promise<never>): Promise<Delivery> {
    const context = await Promise.race([receiver.take(), over])
    receiver.credit(1)
    return this.#delivery(context)
  }

  #delivery({ message, delivery }: EventContext): Delivery {
    const { subject, application_properties: found = {} } = message!
    const { KEYS: key, ...properties } = found as Record<string, string>
    const settle =
      (how: 'accept' | 'release' | 'reject' | 'modified', more?: object) =>
      async (): Promise<void> => {
        ;(delivery as unknown as Record<string, (more?: object) => void>)[how]!(more)
        await this.ping()
      }
    return {
      body: Buffer.from(message!.body.content as Buffer),
      labels: { ...(subject && { tag: subject }), ...(key && { key }), properties },
      accept: settle('accept'),
      retry: settle('modified', { delivery_failed: true }),
      release: settle('release', { delivery_failed: false }),
      reject: settle('reject'),
    }
  }
}

interface OpenSender {
  readonly link: RheaSender
  /** When the link or its connection has ended. */
  readonly gone: Promise<Verdict>
}

/** Settles when the server has detached the link. */
const detached = ({ link }: RheaSender | RheaReceiver): Promise<void> =>
  new Promise((resolve) => {
    const emitter = link as unknown as { once(event: string, listener: () => void): void }
    for (const event of ['sender_close', 'receiver_close']) emitter.once(event, resolve)
  })
