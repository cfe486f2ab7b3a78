// What an emitter and its persistence share: the way to the broker, what was published through it,
// and the topics that are followed.
import { randomUUID } from 'node:crypto'
import { systemClock } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import { MQTT_CATCH_ALL_TOPIC } from '../model/names.ts'
import { PROPERTY } from '../model/properties.ts'
import type { RecordView } from '../model/record.ts'
import type { StateChange } from '../model/state.ts'
import type { Broker } from '../port/broker.ts'
import { AEDES_TOPIC, isSystemName, RETAINED_PREFIX, toMessage, topicOfName } from './message.ts'
import { type AedesBroker, type OpenPort, openPort, TOPICS_MAX, troubleOf } from './options.ts'
import { bytesOf, type Packet } from './packet.ts'
import { keyOf, type Place, queueOf } from './queue-key.ts'
import { TopicFollower } from './topic-follower.ts'
import { TopicNames } from './topic-names.ts'

interface Own {
  readonly packet: Packet
  /** Of its message, once it is stored. */
  place: Place | undefined
  readonly given: Promise<void>
  readonly give: () => void
}

export interface Opened {
  readonly broker: Broker
  readonly names: TopicNames
  readonly follower: TopicFollower
}

export class SharedLog {
  readonly options: AedesBroker
  /** Begins the unique key of each message that is published here. */
  readonly #id = `AEDES${randomUUID().replaceAll('-', '')}`
  readonly #deliver: (record: RecordView, place: Place, own: Packet | undefined) => Promise<void>
  /** Published here, and not given to the listeners yet: by the number in their key. */
  readonly #own = new Map<string, Own>()
  readonly #stored = new WeakMap<object, Promise<void>>()
  /** Stored before aedes published them: aedes copies packets, and keeps the payload. */
  readonly #early = new WeakMap<object, Promise<void>>()
  /** Whether the first level of a packet's name was a topic when it was placed, by its payload. */
  readonly #places = new WeakMap<object, boolean>()
  #names: ReadonlySet<string> = new Set()
  readonly #closers: (() => Promise<void>)[] = []
  readonly #emits = new Set<Promise<unknown>>()
  #opening: Promise<Opened> | undefined
  /** Messages are published in the order in which they are given. */
  #line: Promise<unknown> = Promise.resolve()
  #isShut = false
  #port: OpenPort | undefined
  #count = 0
  #closing: Promise<void> | undefined

  constructor(
    options: AedesBroker,
    deliver: (record: RecordView, place: Place, own: Packet | undefined) => Promise<void>,
  ) {
    this.options = options
    this.#deliver = deliver
  }

  /** Begins with the first call. @throws BrokerError */
  open(): Promise<Opened> {
    if (this.#isShut) return Promise.reject(closed())
    this.#opening ??= this.#open().catch((error: unknown) => {
      this.#opening = undefined
      throw error
    })
    return this.#opening
  }

  /**
   * The topic of a packet's message. It goes there also when topics come or go before it is stored:
   * what was allowed is what happens.
   */
  place({ topic, payload }: Packet): string {
    const isThere = this.#isThere(topic)
    if (isObject(payload)) this.#places.set(payload, isThere)
    return topicOfName(topic, isThere)
  }

  /** What was published so far has been answered. */
  async idle(): Promise<void> {
    await Promise.allSettled([...this.#emits])
  }

  /** Stores the packet's message once, however often it is asked for. */
  store(packet: Packet): Promise<void> {
    let stored = this.#stored.get(packet)
    if (stored !== undefined) return stored
    const { payload } = packet
    const early = isObject(payload) ? this.#early.get(payload) : undefined
    if (early !== undefined) this.#early.delete(payload as object)
    stored = early ?? this.#publish(packet)
    this.#stored.set(packet, stored)
    return stored
  }

  /**
   * Stores what aedes has not published yet, with changes that hold with the message. `packet` has
   * the very payload that aedes is going to publish.
   */
  storeEarly(packet: Packet, changes: readonly StateChange[] = []): Promise<void> {
    const stored = this.#publish(packet, changes)
    if (isObject(packet.payload)) this.#early.set(packet.payload, stored)
    return stored
  }

  /** What closes before the way to the broker does. */
  onClose(close: () => Promise<void>): void {
    this.#closers.push(close)
  }

  /** Idempotent; what was given is stored first. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #open(): Promise<Opened> {
    this.#port = await openPort(this.options)
    const { broker } = this.#port
    await broker.topics.ensure(MQTT_CATCH_ALL_TOPIC)
    await broker.topics.ensure(AEDES_TOPIC)
    const names = new TopicNames(broker, (topic, isThere) => follower.topicChanged(topic, isThere))
    const follower = new TopicFollower(() => names.all, {
      broker,
      clock: systemClock,
      troubled: troubleOf(this.options),
      topicsMax: this.options.topicsMax ?? TOPICS_MAX,
      deliver: (record, place) => this.#given(record, place),
      dropped: (topic) => this.#forget(({ key }) => queueOf(key).topic === topic),
      skipped: (next) => this.#forget((own) => own.key === next.key && own.offset < next.offset),
    })
    await names.open()
    this.#names = names.all
    return { broker, names, follower }
  }

  #publish(packet: Packet, changes: readonly StateChange[] = []): Promise<void> {
    const number = (this.#count++).toString(36)
    let give = (): void => {}
    const given = new Promise<void>((resolve) => {
      give = resolve
    })
    const own: Own = { packet, place: undefined, given, give }
    this.#own.set(number, own)
    const ready = this.#line.then(() => this.#ready())
    this.#line = ready.catch(() => {})
    const publishing = ready
      .then((opened) => this.#put(opened, own, number, changes))
      .catch((error: unknown) => {
        this.#own.delete(number)
        throw error
      })
    this.#emits.add(publishing)
    const settled = (): void => void this.#emits.delete(publishing)
    publishing.then(settled, settled)
    return publishing
  }

  /** What listeners have asked for by now is followed. */
  async #ready(): Promise<Opened> {
    const opened = await this.open()
    await opened.follower.opened()
    return opened
  }

  /** Settles when the message is stored, and the listeners here were given it, if there are any. */
  async #put(
    { broker, follower }: Opened,
    own: Own,
    number: string,
    changes: readonly StateChange[],
  ): Promise<void> {
    const { topic, payload } = own.packet
    const placed = isObject(payload) ? this.#places.get(payload) : undefined
    const isThere = placed ?? this.#isThere(topic)
    const message = toMessage(own.packet, isThere, this.#id + number, systemClock.now())
    const retained = retainedChange(own.packet)
    const all = retained === undefined ? changes : [...changes, retained]
    const [result] = await broker.publish([message], all)
    if (result === undefined || result instanceof BrokerError) throw result ?? closed()
    own.place = { key: keyOf({ ...result, topic: message.topic }), offset: result.queueOffset }
    if (willBeGiven(follower, message.topic, own.place)) await own.given
    this.#own.delete(number)
  }

  #isThere(name: string): boolean {
    return this.#names.has(name.split('/', 1)[0]!)
  }

  /** Listeners are not given these any more: they have gone, or the record has. */
  #forget(isGone: (place: Place) => boolean): void {
    for (const { place, give } of this.#own.values()) {
      if (place !== undefined && isGone(place)) give()
    }
  }

  async #given(record: RecordView, place: Place): Promise<void> {
    const key = record.property(PROPERTY.uniqueKey)
    const number = key?.startsWith(this.#id) ? key.slice(this.#id.length) : undefined
    const own = number === undefined ? undefined : this.#own.get(number)
    const delivered = this.#deliver(record, place, own?.packet)
    if (own !== undefined) {
      this.#own.delete(number!)
      own.give()
    }
    await delivered
  }

  async #close(): Promise<void> {
    await this.idle()
    this.#isShut = true
    for (const close of this.#closers) await close().catch(() => {})
    const opened = await this.#opening?.catch(() => undefined)
    opened?.follower.close()
    opened?.names.close()
    await this.#port?.close()
  }
}

/** Are listeners here going to be given it, if they were not? */
function willBeGiven(follower: TopicFollower, topic: string, { key, offset }: Place): boolean {
  const queue = follower.queue(key)
  // A queue that is followed and not known yet is read from its beginning.
  return queue === undefined ? follower.isFollowed(topic) : queue.next <= offset
}

/** With its message, so that a crash leaves both or neither. */
function retainedChange({ topic, retain, payload }: Packet): StateChange | undefined {
  if (retain !== true || isSystemName(topic)) return undefined
  const id = RETAINED_PREFIX + topic
  return { id, state: bytesOf(payload).length === 0 ? null : 'message', message: 0 }
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null

const closed = (): BrokerError => new BrokerError('CLOSED', 'the emitter is closed')
