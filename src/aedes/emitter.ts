// mqemitter over the log: what is emitted is stored, and goes to the listeners of every process as
// it is read from there, in the log's order. Matching is upstream's.
import mqemitter from 'mqemitter'
import { sleep, systemClock } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import type { RecordView } from '../model/record.ts'
import { isSystemName, toPacket } from './message.ts'
import { type AedesBroker, troubleOf } from './options.ts'
import type { Packet } from './packet.ts'
import { identityOf, type Place } from './queue-key.ts'
import { SharedLog } from './shared-log.ts'
import { wantsOf } from './topic-follower.ts'

/** Those of mqemitter. */
export interface MatchingOptions {
  readonly matchEmptyLevels?: boolean | undefined
  readonly separator?: string | undefined
  readonly wildcardOne?: string | undefined
  readonly wildcardSome?: string | undefined
}

export type EmitterDone = (error?: Error | null) => void
export type PacketListener = (message: Packet, done: () => void) => void

/** aedes's `authorizePublish`. */
export type AuthorizePublish<Client> = (
  client: Client,
  packet: Packet,
  callback: (error?: Error | null) => void,
) => void

export interface AedesEmitter {
  /** Messages that listeners are being given. */
  readonly current: number
  readonly closed: boolean
  /** `done`: messages that are emitted from then on come to the listener. */
  on(topic: string, listener: PacketListener, done?: EmitterDone): this
  removeListener(topic: string, listener: PacketListener, done?: EmitterDone): this
  removeAllListeners(topic: string, done?: EmitterDone): this
  /** `done`: the message is stored, and listeners of this process have been called. */
  emit(message: Packet, done?: EmitterDone): this
  /** `done`: what was emitted is stored, and the way to the broker is closed. */
  close(done?: EmitterDone): this
  /**
   * For aedes's option `authorizePublish`: a QoS 1 message is stored when aedes acknowledges it,
   * where aedes alone acknowledges first. `authorize` decides before that; default: aedes's own
   * rule, by which clients may not publish under $SYS/.
   */
  storeFirst<Client>(authorize?: AuthorizePublish<Client>): AuthorizePublish<Client>
}

/** The class behind mqemitter's function, as far as its types leave it out. */
interface Base {
  current: number
  closed: boolean
  on(topic: string, listener: PacketListener, done?: () => void): this
  removeListener(topic: string, listener: PacketListener, done?: () => void): this
  removeAllListeners(topic: string, done?: () => void): this
  emit(message: Packet, done?: EmitterDone): this
  close(done: () => void): this
}
const MqEmitter = mqemitter as unknown as new (options: object) => Base

const RETRY_MS = 500

export class LogEmitter extends MqEmitter implements AedesEmitter {
  readonly shared: SharedLog
  readonly #follows: (filter: string) => readonly string[]
  readonly #listeners = new Map<string, PacketListener[]>()
  readonly #troubled: (error: BrokerError) => void
  #isClosing = false

  constructor(options: AedesBroker & MatchingOptions) {
    super(matching(options))
    this.#troubled = troubleOf(options)
    // By other wildcards and separators first levels are others too: such filters look at all.
    const { separator = '/', wildcardOne = '+', wildcardSome = '#' } = options
    const isMqtt = separator === '/' && wildcardOne === '+' && wildcardSome === '#'
    this.#follows = isMqtt ? wantsOf : () => wantsOf('#')
    this.shared = new SharedLog(options, (record, place, own) => this.#deliver(record, place, own))
  }

  override on(topic: string, listener: PacketListener, done?: EmitterDone): this {
    super.on(topic, listener)
    const listeners = this.#listeners.get(topic) ?? []
    this.#listeners.set(topic, [...listeners, listener])
    void this.#follow(this.#follows(topic)).then(() => done?.())
    return this
  }

  override removeListener(topic: string, listener: PacketListener, done?: EmitterDone): this {
    const listeners = this.#listeners.get(topic) ?? []
    const at = listeners.indexOf(listener)
    if (at !== -1) this.#setListeners(topic, listeners.toSpliced(at, 1))
    return super.removeListener(topic, listener, () => {
      if (at !== -1) this.#unfollow(topic, 1)
      done?.()
    })
  }

  override removeAllListeners(topic: string, done?: EmitterDone): this {
    const { length } = this.#listeners.get(topic) ?? []
    this.#setListeners(topic, [])
    super.removeAllListeners(topic)
    this.#unfollow(topic, length)
    if (done !== undefined) setImmediate(done)
    return this
  }

  override emit(message: Packet, done: EmitterDone = () => {}): this {
    if (this.#isClosing) {
      done(new Error('mqemitter is closed'))
      return this
    }
    this.shared.store(message).then(() => done(), done)
    return this
  }

  override close(done: EmitterDone = () => {}): this {
    this.#isClosing = true
    this.closed = true
    this.shared.close().then(() => setImmediate(done), done)
    return this
  }

  storeFirst<Client>(
    authorize: AuthorizePublish<Client> = notUnderSystem,
  ): AuthorizePublish<Client> {
    return (client, packet, callback) => {
      authorize(client, packet, (error) => {
        if (error) callback(error)
        else if (packet.qos !== 1) callback(null)
        else this.shared.storeEarly(early(packet, client)).then(() => callback(null), callback)
      })
    }
  }

  #deliver(record: RecordView, place: Place, own: Packet | undefined): Promise<void> {
    // What is no packet of aedes goes to the listeners as it was given.
    const isPlain = own !== undefined && own.brokerId === undefined && own.cmd === undefined
    return new Promise((resolve) => {
      // Closed for new ones, not for those that are on their way.
      this.closed = false
      try {
        const packet = isPlain ? own : { ...(own ?? toPacket(record)), ...identityOf(place) }
        super.emit(packet, () => resolve())
      } catch (thrown) {
        // A listener's mistake; or a name of more levels than the matcher takes, which listeners
        // are not given then: names of other protocols have no such bound.
        this.#troubled(BrokerError.from(thrown))
        resolve()
      }
      this.closed = this.#isClosing
    })
  }

  async #follow(wants: readonly string[]): Promise<void> {
    for (;;) {
      try {
        const { follower } = await this.shared.open()
        return await follower.want(wants)
      } catch (thrown) {
        if (this.#isClosing) return
        this.#troubled(BrokerError.from(thrown))
        await sleep(systemClock, RETRY_MS)
      }
    }
  }

  #unfollow(topic: string, times: number): void {
    const wants = this.#follows(topic)
    const unwant = async (): Promise<void> => {
      const { follower } = await this.shared.open()
      for (let i = 0; i < times; i++) follower.unwant(wants)
    }
    // Nothing is followed any more where the way to the broker is closed.
    unwant().catch(() => {})
  }

  #setListeners(topic: string, listeners: PacketListener[]): void {
    if (listeners.length === 0) this.#listeners.delete(topic)
    else this.#listeners.set(topic, listeners)
  }
}

function matching(options: MatchingOptions): object {
  const { matchEmptyLevels, separator, wildcardOne, wildcardSome } = options
  return { matchEmptyLevels, separator, wildcardOne, wildcardSome }
}

/** As listeners are given it: without what the publisher's own connection is to it. */
const early = (packet: Packet, client: unknown): Packet => ({
  cmd: 'publish',
  topic: packet.topic,
  payload: packet.payload,
  qos: packet.qos,
  retain: packet.retain,
  dup: false,
  clientId: (client as { id?: string } | null)?.id,
})

const notUnderSystem = (_: unknown, { topic }: Packet, callback: EmitterDone): void =>
  callback(isSystemName(topic) ? new Error('$SYS/ topic is reserved') : null)
