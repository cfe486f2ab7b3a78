// Sessions beside the log's emitter: what a client is given as it is stored, what it missed, and
// where its session stands.
import { type Clock, SharedSlice, type Timer } from '../clock.ts'
import { MQTT_CATCH_ALL_TOPIC } from '../model/names.ts'
import type { Broker } from '../port/broker.ts'
import { nameOf, qosOf, toPacket } from './message.ts'
import type { Packet } from './packet.ts'
import { identityOf, keyOf, type Place, type QueueKey } from './queue-key.ts'
import { Repeats, wasResent } from './repeats.ts'
import type { Session } from './session.ts'
import { SessionReader } from './session-reader.ts'
import type { Sessions } from './sessions.ts'
import { type TopicFollower, topicsFor } from './topic-follower.ts'
import type { TopicNames } from './topic-names.ts'

/** So often a session whose client has nothing to acknowledge is told where the log stands. */
const PLACES_MS = 60_000

interface Parts {
  readonly broker: Broker
  readonly names: TopicNames
  readonly follower: TopicFollower
  readonly sessions: Sessions
  readonly clock: Clock
}

/** A client of aedes, as far as it is looked at here. */
interface ConnectedClient {
  readonly id: string
  /** True before its listeners go. */
  readonly closed?: boolean
  readonly clean?: boolean
}

export class LogSessions {
  readonly #parts: Parts
  readonly #connected = new Map<string, ConnectedClient>()
  readonly #timer: Timer
  /** Of looking through the filters of sessions that are given what they missed. */
  readonly #slice: SharedSlice

  constructor(parts: Parts) {
    this.#parts = parts
    this.#slice = new SharedSlice(parts.clock)
    this.#timer = parts.clock.every(PLACES_MS, () => {
      for (const client of this.#connected.values()) void this.#pass(client).catch(() => {})
    })
  }

  close(): void {
    this.#timer.cancel()
  }

  /** Its listeners are not there yet; what it missed is read when they are. */
  async connecting(clientId: string): Promise<Session> {
    const session = await this.#parts.sessions.renew(clientId)
    session.isCatchingUp = true
    return session
  }

  connected(client: ConnectedClient): void {
    if (client.clean !== true) this.#connected.set(client.id, client)
  }

  async disconnected(client: ConnectedClient): Promise<void> {
    // It may have connected again, before the connection that it had was closed.
    if (this.#connected.get(client.id) !== client) return
    this.#connected.delete(client.id)
    await this.#parts.sessions.letGo(client.id)
  }

  /** Where the queues end that a filter's messages may be in: the subscription begins there. */
  async endsFor(filter: string): Promise<Readonly<Record<QueueKey, number>>> {
    const topics = topicsFor([filter], this.#topics())
    const ends = await Promise.all(topics.map((topic) => this.#ends(topic)))
    return Object.fromEntries(ends.flat())
  }

  async sent(clientId: string, place: Place, packet: Packet): Promise<void> {
    const { sessions } = this.#parts
    const session = await sessions.get(clientId)
    session.sent(place, packet)
    // After a crash a QoS 2 message goes on under the identifier by which its client may have it.
    await (packet.qos === 2 ? sessions.save(clientId) : sessions.saveSoon(clientId))
  }

  /** Answers whether it is one of the log. */
  async released(clientId: string, messageId: number): Promise<boolean> {
    const { sessions } = this.#parts
    const session = await sessions.get(clientId)
    if (!session.released(messageId)) return false
    await sessions.save(clientId)
    return true
  }

  /** Answers the message, if it is one of the log. */
  async acknowledged(clientId: string, messageId: number): Promise<Packet | undefined> {
    const { sessions, broker } = this.#parts
    const session = await sessions.get(clientId)
    const open = session.acknowledged(messageId)
    if (open === undefined) return undefined
    await sessions.saveSoon(clientId)
    if (open.packet !== undefined) return open.packet
    if (open.stage === 'released') return { cmd: 'pubrel', messageId } as unknown as Packet
    const record = await new SessionReader(broker).record(open)
    return record && { ...toPacket(record), ...identityOf(open), messageId }
  }

  async skipped(clientId: string, place: Place): Promise<void> {
    const { sessions } = this.#parts
    const session = await sessions.get(clientId)
    session.skipped(place)
    await sessions.saveSoon(clientId)
  }

  /** First what was sent and not acknowledged, then what came while the client was away. */
  async *missed(clientId: string): AsyncGenerator<Packet> {
    const { sessions, broker } = this.#parts
    const session = await sessions.get(clientId)
    const reader = new SessionReader(broker)
    for (const open of session.unacknowledged) {
      const { stage, messageId } = open
      if (stage === 'released') {
        yield { cmd: 'pubrel', messageId } as unknown as Packet
        continue
      }
      const record = await reader.record(open)
      if (record === undefined) session.forget(open)
      // One that was sent before says so.
      else yield { ...toPacket(record), ...identityOf(open), messageId, dup: stage === 'sent' }
    }
    for (const topic of session.topicsOf(this.#topics())) {
      for (const [key, end] of await this.#ends(topic)) {
        yield* this.#backlog(session, reader, key, end)
      }
    }
    session.isCatchingUp = false
    if (!session.isEmpty) await sessions.saveSoon(clientId)
  }

  async *#backlog(
    session: Session,
    reader: SessionReader,
    key: QueueKey,
    end: number,
  ): AsyncGenerator<Packet> {
    const repeats = new Repeats(this.#parts.broker, key)
    for await (const record of reader.records(key, session.placeIn(key), end)) {
      if (this.#slice.isOver) await this.#slice.rest()
      const place = { key, offset: record.queueOffset }
      const qos = Math.min(qosOf(record), session.qosFor(nameOf(record), place))
      if (qos === 0 || session.wasGiven(place)) continue
      if (wasResent(record) && (await repeats.has(record))) continue
      session.queue(place)
      yield { ...toPacket(record), ...identityOf(place), qos, retain: false, messageId: undefined }
    }
    session.pass(key, end)
  }

  /** Listeners here have been given all before these offsets, or all that there is. */
  async #ends(topic: string): Promise<(readonly [QueueKey, number])[]> {
    const { broker, follower } = this.#parts
    const ranges = await broker.topics.ranges(topic)
    return ranges.map((range) => {
      const key = keyOf(range)
      return [key, follower.queue(key)?.next ?? range.maxOffset] as const
    })
  }

  /** A client that is connected and its listeners with it was given all that they let go of. */
  async #pass(client: ConnectedClient): Promise<void> {
    const { sessions, follower } = this.#parts
    const session = await sessions.get(client.id)
    if (client.closed !== false || session.isCatchingUp) return
    let isChanged = false
    for (const topic of session.topicsOf(this.#topics())) {
      for (const [key, done] of follower.doneOf(topic)) {
        if (done <= session.placeIn(key)) continue
        session.pass(key, done)
        isChanged = true
      }
    }
    if (isChanged) await sessions.saveSoon(client.id)
  }

  #topics(): readonly string[] {
    return [MQTT_CATCH_ALL_TOPIC, ...this.#parts.names.all]
  }
}
