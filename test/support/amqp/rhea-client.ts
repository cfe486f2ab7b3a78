// An unmodified rhea client with what tests wait for as promises. Errors of the peer reject,
// nothing is retried behind the test's back.
import type { ExecutionContext } from 'ava'
import rhea, {
  type Connection,
  type ConnectionOptions,
  type EventContext,
  type Message,
  type Receiver,
  type ReceiverOptions,
  type Sender,
  type SenderOptions,
} from 'rhea'

export type { Delivery, EventContext, Message, Receiver, Sender } from 'rhea'

const WAIT_MS = 60_000

/** The next event of this name, with its context. */
export function next(
  emitter: { once(event: string, listener: (context: EventContext) => void): unknown },
  event: string,
): Promise<EventContext> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`'${event}' did not come`)), WAIT_MS)
    // Of several that race, the losers must not keep the test's process alive.
    timer.unref()
    emitter.once(event, (context) => {
      clearTimeout(timer)
      resolve(context)
    })
  })
}

export interface PeerErrorShape {
  readonly condition?: string
  readonly description?: string
}

export async function connectRhea(
  t: ExecutionContext,
  port: number,
  options: Partial<ConnectionOptions> & Record<string, unknown> = {},
): Promise<RheaClient> {
  const container = rhea.create_container()
  for (const event of ['error', 'disconnected', 'connection_error', 'session_error']) {
    container.on(event, () => {})
  }
  for (const event of ['sender_error', 'receiver_error', 'protocol_error']) {
    container.on(event, () => {})
  }
  const connection = container.connect({
    host: '127.0.0.1',
    port,
    username: 'anonymous',
    reconnect: false,
    ...options,
  } as ConnectionOptions)
  t.teardown(() => connection.close())
  const refused = new Promise<never>((_, reject) => {
    connection.once('connection_error', ({ error }) => reject(error))
    connection.once('disconnected', () => reject(new Error('disconnected before open')))
  })
  await Promise.race([next(connection, 'connection_open'), refused])
  return new RheaClient(connection)
}

export class RheaClient {
  readonly connection: Connection

  constructor(connection: Connection) {
    this.connection = connection
  }

  /** Attached and with credit. @throws the peer's error */
  async sender(target: SenderOptions | string | object): Promise<RheaSender> {
    const sender = this.connection.open_sender(target as SenderOptions)
    await Promise.race([next(sender, 'sendable'), refusal(sender, 'sender_error')])
    return new RheaSender(sender)
  }

  /** Attached, without credit. @throws the peer's error */
  async receiver(source: ReceiverOptions | string | object): Promise<RheaReceiver> {
    const options = typeof source === 'string' ? { source } : source
    const receiver = this.connection.open_receiver({
      credit_window: 0,
      autoaccept: false,
      ...options,
    } as ReceiverOptions)
    const refused = refusal(receiver, 'receiver_error')
    await Promise.race([next(receiver, 'receiver_open'), refused])
    // A refused link is attached without its source, and detached right after.
    if (!receiver.source?.address) await refused
    return new RheaReceiver(receiver)
  }

  async close(): Promise<void> {
    const closed = next(this.connection, 'connection_close')
    this.connection.close()
    await closed
  }
}

/** Rejects with the peer's error, if ever. */
function refusal(link: Sender | Receiver, event: string): Promise<never> {
  const emitter = link as { once(event: string, listener: () => void): unknown; error?: unknown }
  return new Promise((_, reject) => emitter.once(event, () => reject(emitter.error)))
}

export interface Outcome {
  readonly kind: 'accepted' | 'rejected' | 'released' | 'modified'
  readonly error: PeerErrorShape | undefined
}

export class RheaSender {
  readonly link: Sender
  readonly #waiting = new Map<object, (outcome: Outcome) => void>()

  constructor(link: Sender) {
    this.link = link
    for (const kind of ['accepted', 'rejected', 'released', 'modified'] as const) {
      link.on(kind, ({ delivery }: EventContext) => {
        const state = delivery?.remote_state as { error?: PeerErrorShape } | undefined
        this.#waiting.get(delivery!)?.({ kind, error: state?.error })
        this.#waiting.delete(delivery!)
      })
    }
  }

  /** What became of it. */
  async send(message: Message | Buffer, format?: number): Promise<Outcome> {
    if (!this.link.sendable()) await next(this.link as never, 'sendable')
    return new Promise((resolve) => {
      const delivery =
        format === undefined
          ? this.link.send(message as Message)
          : this.link.send(message, undefined, format)
      this.#waiting.set(delivery, resolve)
    })
  }

  async detach(): Promise<void> {
    const closed = next(this.link as never, 'sender_close')
    this.link.close()
    await closed
  }
}

export class RheaReceiver {
  readonly link: Receiver
  readonly #came: EventContext[] = []
  readonly #waiting: ((context: EventContext) => void)[] = []

  constructor(link: Receiver) {
    this.link = link
    link.on('message', (context: EventContext) => {
      const waiting = this.#waiting.shift()
      if (waiting === undefined) this.#came.push(context)
      else waiting(context)
    })
  }

  /** Came and not yet taken. */
  get backlog(): number {
    return this.#came.length
  }

  credit(count: number): void {
    this.link.add_credit(count)
  }

  /** The next message; grants no credit. */
  take(): Promise<EventContext & { message: Message }> {
    const came = this.#came.shift()
    if (came !== undefined) return Promise.resolve(came as never)
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('no message came')), WAIT_MS)
      timer.unref()
      this.#waiting.push((context) => {
        clearTimeout(timer)
        resolve(context as never)
      })
    })
  }

  /** The next messages, each accepted; grants the credit for them. */
  async accept(count: number): Promise<Message[]> {
    this.credit(count)
    const messages: Message[] = []
    for (let i = 0; i < count; i++) {
      const { message, delivery } = await this.take()
      delivery?.accept()
      messages.push(message)
    }
    return messages
  }

  /** Uses the credit up; settles when the peer says that nothing is left. */
  async drain(): Promise<void> {
    const drained = next(this.link as never, 'receiver_drained')
    this.link.drain_credit()
    await drained
    this.link.drain = false
  }

  async detach(): Promise<void> {
    const closed = next(this.link as never, 'receiver_close')
    this.link.close()
    await closed
  }
}

/** The text of a body, whatever section it came in. */
export function bodyText(message: Message): string {
  const body = message.body as string | Buffer | { content?: Buffer }
  if (typeof body === 'string') return body
  if (Buffer.isBuffer(body)) return body.toString()
  return body.content?.toString() ?? JSON.stringify(body)
}
