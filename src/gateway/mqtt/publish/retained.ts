// Retained messages (R8): the last one of each topic, whole, so that it outlives the log's
// retention. The names are kept in memory, the messages with the broker's durable state, where
// every gateway sees what another one changes.
import { type Clock, SharedSlice, Slice } from '../../../clock.ts'
import { BrokerError } from '../../../errors.ts'
import type { Logger } from '../../../log.ts'
import type { NewMessage, PublishResult } from '../../../model/message.ts'
import { MQTT_CATCH_ALL_TOPIC } from '../../../model/names.ts'
import { PROPERTY } from '../../../model/properties.ts'
import { checkRecord, RECORD_FIXED_BYTES, RecordView } from '../../../model/record.ts'
import type { StateChange, StateNews, StateVersion } from '../../../model/state.ts'
import type { Broker } from '../../../port/broker.ts'
import { OutgoingMessage } from '../outgoing/outgoing-message.ts'
import { firstLevel } from '../packets/topic-name.ts'
import { TopicTree } from './topic-tree.ts'

const ID_PREFIX = 'mqtt/retained/'

export interface RetainedLimits {
  readonly retainedMax: number
  readonly retainedBytesMax: number
}

/** A name whose topic was deleted, and the change of it that was under way then. */
interface Leaving {
  readonly name: string
  readonly topic: string
  readonly underWay: Promise<void> | undefined
}

export class Retained {
  readonly #broker: Broker
  readonly #clock: Clock
  readonly #log: Logger
  readonly #limits: RetainedLimits
  /** Of all looks through the names. */
  readonly looks: SharedSlice
  readonly #tree = new TopicTree()
  /** Bytes of each retained message, by topic name. */
  readonly #sizes = new Map<string, number>()
  #bytes = 0
  /** The newest change under way, by topic name. */
  readonly #underWay = new Map<string, Promise<void>>()
  /** How many changes have set out. */
  #changes = 0
  /** By name: retained messages that go with a deleted topic. */
  readonly #leaving = new Map<string, Leaving>()
  /** Names that were changed, here or elsewhere, while a change was under way here. */
  readonly #overtaken = new Set<string>()
  /** While what there is is being read: names that news came of. */
  #told: Set<string> | undefined
  readonly #watches: Disposable[] = []

  constructor(
    { broker, clock, log }: { broker: Broker; clock: Clock; log: Logger },
    limits: RetainedLimits,
  ) {
    this.#broker = broker
    this.#clock = clock
    this.looks = new SharedSlice(clock)
    this.#log = log
    this.#limits = limits
  }

  get count(): number {
    return this.#sizes.size
  }

  get bytes(): number {
    return this.#bytes
  }

  async open(): Promise<void> {
    const { states, topics } = this.#broker
    const watch = topics.watch((topic) => {
      this.#topicChanged(topic).catch((error: unknown) => this.#stays(topic, error))
    })
    this.#watches.push(watch)
    // Before the list, which may have an id as it was when the reading began.
    const told = new Set<string>()
    this.#told = told
    this.#watches.push(states.watch(ID_PREFIX, (news) => this.#changed(news)))
    const slice = new Slice(this.#clock)
    const known = new Map<string, boolean>()
    for await (const page of states.list(ID_PREFIX)) {
      for (const { id, value } of page) {
        if (slice.isOver) await slice.rest()
        const name = id.slice(ID_PREFIX.length)
        if (told.has(name)) continue
        this.#note(name, value.length)
        const topic = topicOf(value)
        const isThere = known.get(topic) ?? (await topics.get(topic)) !== undefined
        known.set(topic, isThere)
        // The process ended before it went with its topic.
        if (!isThere) await this.#remove(name)
      }
    }
    this.#told = undefined
  }

  close(): void {
    for (const watch of this.#watches.splice(0)) watch[Symbol.dispose]()
    this.#leaving.clear()
  }

  /** By any gateway, this one too. */
  #changed({ id, value }: StateNews): void {
    const name = id.slice(ID_PREFIX.length)
    this.#told?.add(name)
    if (this.#underWay.has(name)) this.#overtaken.add(name)
    else if (value === undefined) this.#forget(name)
    else this.#note(name, value.length)
  }

  /** Is there room for one more? @throws QUOTA_EXCEEDED */
  check(name: string, payloadBytes: number): void {
    if (payloadBytes === 0) return
    const { retainedMax, retainedBytesMax } = this.#limits
    const before = this.#sizes.get(name)
    const isTooMany = before === undefined && this.count >= retainedMax
    // The payload that it replaces makes room.
    if (isTooMany || this.#bytes - (before ?? 0) + payloadBytes > retainedBytesMax) {
      throw new BrokerError(
        'QUOTA_EXCEEDED',
        `there are ${this.count} retained messages of ${this.#bytes} bytes; mqtt.retainedMax is ` +
          `${retainedMax}, mqtt.retainedBytesMax ${retainedBytesMax}`,
      )
    }
  }

  /**
   * The message takes its topic's place, or with an empty body clears it. Noted within the call, so
   * that the next message finds that much less room; `follow` must be told before the turn is over.
   * undefined: there is nothing to clear.
   */
  take(name: string, message: NewMessage, index: number): StateChange | undefined {
    const id = ID_PREFIX + name
    if (message.body.length > 0) {
      this.#note(name, sizeOf(message))
      return { id, state: 'message', message: index }
    }
    return this.#sizes.has(name) ? { id, state: null, message: index } : undefined
  }

  /**
   * The changes are on their way into the log with their messages. A subscriber that asks from now
   * on waits for what becomes of them: the broker has taken them, and the subscriber's stream
   * begins behind them.
   */
  follow(changes: readonly StateChange[], published: Promise<readonly PublishResult[]>): void {
    this.#changes++
    const last = new Map(changes.map((change) => [nameOf(change), change]))
    const settled: Promise<void> = published.then(
      (results) => this.#settled(last, settled, (change) => isStored(results, change)),
      () => this.#settled(last, settled, () => false),
    )
    for (const name of last.keys()) this.#underWay.set(name, settled)
  }

  /**
   * The first names with a retained message that the filter selects, behind `after` ('' = from the
   * first), and where to go on when the look was long.
   */
  matching(filter: string, after: string, max: number): ReturnType<TopicTree['match']> {
    return this.#tree.match(filter, after === '' ? undefined : after, max)
  }

  /** The topic's retained message; an expired one is gone. */
  async get(name: string): Promise<OutgoingMessage | undefined> {
    await this.#underWay.get(name)
    const changes = this.#changes
    const state = await this.#broker.states.load(ID_PREFIX + name)
    const record = state?.value
    if (record === undefined || checkRecord(record, 0, record.length, false) === 0) return undefined
    const delivery = new OutgoingMessage(record, 0, this.#broker.identity.brokerName)
    if (delivery.expiresMs > this.#clock.now()) return delivery
    // A new message may have replaced it during the read, and must not be deleted in its place.
    const isLast = changes === this.#changes && !this.#underWay.has(name)
    if (isLast && this.#sizes.has(name)) await this.#remove(name, state?.version)
    return undefined
  }

  /** The retained messages of a deleted topic go with it. */
  async #topicChanged(topic: string): Promise<void> {
    if ((await this.#broker.topics.get(topic)) !== undefined) return
    const leaving: Leaving[] = []
    for (const name of this.#sizes.keys()) {
      if (topic !== MQTT_CATCH_ALL_TOPIC && firstLevel(name) !== topic) continue
      const one = { name, topic, underWay: this.#underWay.get(name) }
      this.#leaving.set(name, one)
      leaving.push(one)
    }
    const slice = new Slice(this.#clock)
    for (const one of leaving) {
      if (slice.isOver) await slice.rest()
      await this.#leave(one).catch((error: unknown) => this.#stays(topic, error))
    }
  }

  /** Until the next start, which removes what has no topic. */
  #stays(topic: string, error: unknown): void {
    const fields = { evt: 'mqtt.retained_stays', topic, err: error }
    this.#log.warn(fields, 'retained messages of a deleted topic stay until the next start')
  }

  async #leave(one: Leaving): Promise<void> {
    const { name, topic } = one
    let record: Buffer | undefined
    // A change may have set out while the value before it was read.
    do {
      await this.#underWay.get(name)
      record = await this.#load(name)
    } while (this.#underWay.has(name))
    // A retained message that came since, to a topic made again or to the catch-all, stays.
    if (this.#leaving.get(name) !== one) return
    this.#leaving.delete(name)
    if (record !== undefined && topicOf(record) === topic) await this.#remove(name)
  }

  /** `expected`: another one by now stays. */
  async #remove(name: string, expected?: StateVersion): Promise<void> {
    this.#forget(name)
    // The broker keeps a deletion that the log refuses, and writes it later; a start and
    // subscribers go on.
    await this.#broker.states.delete(ID_PREFIX + name, { expected }).catch(() => {})
  }

  async #settled(
    last: ReadonlyMap<string, StateChange>,
    mine: Promise<void>,
    isStored: (change: StateChange) => boolean,
  ): Promise<void> {
    for (const [name, change] of last) {
      let bytes = change.state === null ? 0 : (this.#sizes.get(name) ?? 0)
      // It came to nothing, so that what was there before still holds; or another gateway's change
      // came as well.
      const isOvertaken = this.#overtaken.delete(name)
      if (!isStored(change) || isOvertaken) bytes = await this.#keptBytes(name)
      // A newer change decides.
      if (this.#underWay.get(name) !== mine) continue
      this.#underWay.delete(name)
      const leaving = this.#leaving.get(name)
      if (isStored(change) && leaving?.underWay !== mine) this.#leaving.delete(name)
      if (bytes === 0) this.#forget(name)
      else this.#note(name, bytes)
    }
  }

  async #load(name: string): Promise<Buffer | undefined> {
    return (await this.#broker.states.load(ID_PREFIX + name))?.value
  }

  async #keptBytes(name: string): Promise<number> {
    const record = await this.#load(name).catch(() => undefined)
    return record?.length ?? 0
  }

  #forget(name: string): void {
    if (!this.#sizes.has(name)) return
    this.#bytes -= this.#sizes.get(name) ?? 0
    this.#sizes.delete(name)
    this.#tree.delete(name)
  }

  #note(name: string, bytes: number): void {
    const before = this.#sizes.get(name)
    if (before === undefined) this.#tree.add(name)
    this.#bytes += bytes - (before ?? 0)
    this.#sizes.set(name, bytes)
  }
}

const nameOf = ({ id }: StateChange): string => id.slice(ID_PREFIX.length)

const isStored = (results: readonly PublishResult[], { message }: StateChange): boolean =>
  !(results[message!] instanceof BrokerError)

/** Of the record, but for what the broker adds to it. */
const sizeOf = ({ topic, body, properties }: NewMessage): number =>
  RECORD_FIXED_BYTES + topic.length + body.length + properties.length

/** Where the message was sent to; one that is delayed waits elsewhere. */
function topicOf(bytes: Buffer): string {
  const record = new RecordView(bytes)
  return record.property(PROPERTY.realTopic) ?? record.topic
}
