// aedes's persistence over the Broker port. Beside this package's emitter at the same broker the
// log is the outgoing queue of all sessions: a session keeps where it stands. Beside another
// emitter each queued packet is a state.
import { Readable } from 'node:stream'
import { nextTurn, systemClock } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import { LogEmitter } from './emitter.ts'
import { Incoming } from './incoming.ts'
import { LogSessions } from './log-sessions.ts'
import {
  type AedesBroker,
  isSameBroker,
  type OpenPort,
  openPort,
  SESSIONS_MAX,
  troubleOf,
} from './options.ts'
import type { Packet } from './packet.ts'
import { PacketQueue } from './packet-queue.ts'
import { placeOf } from './queue-key.ts'
import { RetainedPackets } from './retained.ts'
import { Sessions } from './sessions.ts'
import type { Opened, SharedLog } from './shared-log.ts'
import type { MatchedSubscription, Subscription, SubscriptionTable } from './subscriptions.ts'
import { type KnownBrokers, Wills } from './wills.ts'

/** What is needed of an aedes. */
export interface AedesInstance {
  readonly id: string
  readonly mq?: unknown
  readonly on?: unknown
}

export interface ClientName {
  readonly id: string
}

/** aedes-persistence 11, as aedes 1.2 calls it. */
export interface AedesPersistence {
  readonly broker: AedesInstance | undefined
  setup(aedes: AedesInstance): Promise<void>
  storeRetained(packet: Packet): Promise<void>
  createRetainedStream(pattern: string): Readable
  createRetainedStreamCombi(patterns: readonly string[]): Readable
  addSubscriptions(client: ClientName, subscriptions: readonly Subscription[]): Promise<void>
  removeSubscriptions(client: ClientName, filters: readonly string[]): Promise<void>
  subscriptionsByClient(client: ClientName): Promise<readonly Subscription[]>
  countOffline(): Promise<{ readonly subsCount: number; readonly clientsCount: number }>
  subscriptionsByTopic(name: string): Promise<readonly MatchedSubscription[]>
  cleanSubscriptions(client: ClientName): Promise<void>
  outgoingEnqueue(subscription: { readonly clientId: string }, packet: Packet): Promise<void>
  outgoingEnqueueCombi(
    subscriptions: readonly { readonly clientId: string }[],
    packet: Packet,
  ): Promise<void>
  outgoingUpdate(client: ClientName, packet: Packet): Promise<void>
  outgoingClearMessageId(client: ClientName, packet: Packet): Promise<Packet | undefined>
  outgoingStream(client: ClientName): Readable
  incomingStorePacket(client: ClientName, packet: Packet): Promise<void>
  incomingGetPacket(client: ClientName, packet: Packet): Promise<Packet>
  incomingDelPacket(client: ClientName, packet: Packet): Promise<void>
  cleanIncoming(client: ClientName): Promise<void>
  putWill(client: ClientName, will: Packet): Promise<void>
  getWill(client: ClientName): Promise<Packet | undefined>
  delWill(client: ClientName): Promise<Packet | undefined>
  streamWill(known?: KnownBrokers): Readable
  getClientList(filter: string): Readable
  /** aedes does not call it: what is left to write is written when the emitter closes. */
  destroy(): Promise<void>
}

interface Parts {
  readonly aedes: AedesInstance
  readonly sessions: Sessions
  readonly queue: PacketQueue
  readonly incoming: Incoming
  readonly retained: RetainedPackets
  readonly wills: Wills
  /** Beside the log's emitter. */
  readonly log: { readonly shared: SharedLog; readonly sessions: LogSessions } | undefined
}

export class PortPersistence implements AedesPersistence {
  readonly #options: AedesBroker
  #parts: Parts | undefined
  #port: OpenPort | undefined
  #closing: Promise<void> | undefined

  constructor(options: AedesBroker) {
    this.#options = options
  }

  get broker(): AedesInstance | undefined {
    return this.#parts?.aedes
  }

  async setup(aedes: AedesInstance): Promise<void> {
    const { mq } = aedes
    const isShared = mq instanceof LogEmitter && isSameBroker(mq.shared.options, this.#options)
    if (isShared) {
      await this.#open(aedes, await mq.shared.open(), mq.shared)
      mq.shared.onClose(() => this.destroy())
    } else {
      this.#port = await openPort(this.#options)
      await this.#open(aedes, this.#port)
    }
  }

  async #open(aedes: AedesInstance, opened: Opened | OpenPort, shared?: SharedLog): Promise<void> {
    const { broker } = opened
    const { states } = broker
    const now = (): number => systemClock.now()
    const troubled = troubleOf(this.#options)
    const { sessionsMax = SESSIONS_MAX } = this.#options
    const sessions = new Sessions({ states, clock: systemClock, troubled, sessionsMax })
    const queue = new PacketQueue(states, now)
    const incoming = new Incoming(states)
    await Promise.all([sessions.open(), queue.open(), incoming.open()])
    const isShared = shared !== undefined && 'follower' in opened
    this.#parts = {
      ...{ aedes, sessions, queue, incoming },
      retained: new RetainedPackets(states, now, isShared),
      wills: new Wills(states),
      log: isShared
        ? { shared, sessions: new LogSessions({ ...opened, sessions, clock: systemClock }) }
        : undefined,
    }
    this.#watchClients(aedes)
  }

  /** Sessions leave memory with their clients. */
  #watchClients(aedes: AedesInstance): void {
    if (typeof aedes.on !== 'function') return
    const on = aedes.on.bind(aedes) as (event: string, told: (client: ClientName) => void) => void
    const { queue, sessions, log } = this.#parts!
    on('clientReady', (client) => log?.sessions.connected(client))
    on('clientDisconnect', (client) => {
      queue.letGo(client.id)
      if (log === undefined) void sessions.letGo(client.id)
      else void log.sessions.disconnected(client)
    })
  }

  /** Of all sessions. @throws BrokerError CLOSED before `setup` */
  get subscriptions(): SubscriptionTable {
    return this.#opened.sessions.subscriptions
  }

  /** @throws BrokerError CLOSED before `setup` */
  get #opened(): Parts {
    if (this.#parts !== undefined) return this.#parts
    throw new BrokerError('CLOSED', 'the persistence is not set up')
  }

  async storeRetained(packet: Packet): Promise<void> {
    const { log, retained } = this.#opened
    // With its message, which the emitter asks for once more.
    await (log === undefined ? retained.store(packet) : log.shared.store(packet))
  }

  createRetainedStream(pattern: string): Readable {
    return this.createRetainedStreamCombi([pattern])
  }

  createRetainedStreamCombi(patterns: readonly string[]): Readable {
    return Readable.from(this.#retained(patterns))
  }

  /**
   * aedes does not listen for errors of this stream: one would end the process. A subscriber is not
   * given what cannot be read now.
   */
  async *#retained(patterns: readonly string[]): AsyncGenerator<Packet> {
    try {
      yield* this.#opened.retained.matching(patterns)
    } catch (thrown) {
      troubleOf(this.#options)(BrokerError.from(thrown))
    }
  }

  async addSubscriptions(
    { id }: ClientName,
    subscriptions: readonly Subscription[],
  ): Promise<void> {
    const { sessions, log } = this.#opened
    sessions.checkQuota(id)
    const session = await sessions.get(id)
    let isChanged = false
    for (const given of subscriptions) {
      const subscription = plain(given)
      const begins = log !== undefined && session.begins(subscription)
      const from = begins ? await log.sessions.endsFor(given.topic) : {}
      isChanged = session.subscribe(subscription, from) || isChanged
    }
    // aedes asks once for each of them, with all of them.
    await (isChanged ? sessions.save(id) : sessions.saved(id))
  }

  async removeSubscriptions({ id }: ClientName, filters: readonly string[]): Promise<void> {
    const { sessions } = this.#opened
    const session = await sessions.get(id)
    const removed = filters.filter((filter) => session.unsubscribe(filter))
    if (removed.length > 0) await sessions.save(id)
  }

  async subscriptionsByClient({ id }: ClientName): Promise<readonly Subscription[]> {
    const { sessions, log } = this.#opened
    const session = log === undefined ? await sessions.get(id) : await log.sessions.connecting(id)
    return session.subscriptions
  }

  async countOffline(): Promise<{ subsCount: number; clientsCount: number }> {
    return this.#opened.sessions.subscriptions.counts
  }

  async subscriptionsByTopic(name: string): Promise<readonly MatchedSubscription[]> {
    return this.#opened.sessions.subscriptions.matching(name)
  }

  async cleanSubscriptions({ id }: ClientName): Promise<void> {
    await this.#opened.sessions.delete(id)
  }

  async outgoingEnqueue({ clientId }: { clientId: string }, packet: Packet): Promise<void> {
    await this.#opened.queue.add(new Set([clientId]), packet)
  }

  async outgoingEnqueueCombi(
    subscriptions: readonly { readonly clientId: string }[],
    packet: Packet,
  ): Promise<void> {
    const { queue, log } = this.#opened
    if (log !== undefined) await log.shared.store(packet)
    else await queue.add(new Set(subscriptions.map(({ clientId }) => clientId)), packet)
  }

  async outgoingUpdate({ id }: ClientName, packet: Packet): Promise<void> {
    const { queue, log } = this.#opened
    const { messageId } = packet
    if (packet.cmd === 'pubrel') {
      if (messageId === undefined || (await log?.sessions.released(id, messageId))) return
      // Of a retained message, which is not queued, nothing is kept.
      await queue.released(id, messageId)
      return
    }
    const place = placeOf(packet)
    if (place === undefined || log === undefined) await queue.sent(id, packet)
    else await log.sessions.sent(id, place, packet)
  }

  async outgoingClearMessageId({ id }: ClientName, packet: Packet): Promise<Packet | undefined> {
    const { queue, log } = this.#opened
    const { messageId } = packet
    const place = placeOf(packet)
    if (messageId === undefined) {
      // aedes says so of a message that it does not give to the client.
      if (place !== undefined) await log?.sessions.skipped(id, place)
      return undefined
    }
    const packetOfLog = await log?.sessions.acknowledged(id, messageId)
    return packetOfLog ?? queue.acknowledged(id, messageId)
  }

  outgoingStream({ id }: ClientName): Readable {
    return Readable.from(this.#outgoing(id))
  }

  async *#outgoing(id: string): AsyncGenerator<Packet> {
    const { queue, log } = this.#opened
    yield* queue.all(id)
    if (log === undefined) return
    // aedes marks what it is giving the client by now one turn later.
    await nextTurn()
    await nextTurn()
    yield* log.sessions.missed(id)
  }

  async incomingStorePacket({ id }: ClientName, packet: Packet): Promise<void> {
    const { incoming, log } = this.#opened
    if (log === undefined) await incoming.store(id, packet)
    // Stored first and published then, a crash between would have the message acknowledged unseen.
    else await log.shared.storeEarly(received(id, packet), [incoming.change(id, packet)])
  }

  async incomingGetPacket({ id }: ClientName, { messageId }: Packet): Promise<Packet> {
    return this.#opened.incoming.get(id, messageId)
  }

  async incomingDelPacket({ id }: ClientName, { messageId }: Packet): Promise<void> {
    await this.#opened.incoming.delete(id, messageId)
  }

  async cleanIncoming({ id }: ClientName): Promise<void> {
    await this.#opened.incoming.clean(id)
  }

  async putWill({ id }: ClientName, will: Packet): Promise<void> {
    const { wills, aedes } = this.#opened
    await wills.put(id, will, aedes.id)
  }

  async getWill({ id }: ClientName): Promise<Packet | undefined> {
    return this.#opened.wills.get(id)
  }

  async delWill({ id }: ClientName): Promise<Packet | undefined> {
    return this.#opened.wills.delete(id)
  }

  streamWill(known: KnownBrokers = {}): Readable {
    return Readable.from(this.#opened.wills.ofOthers(known))
  }

  getClientList(filter: string): Readable {
    return Readable.from(this.#opened.sessions.subscriptions.clientsOf(filter))
  }

  destroy(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    const parts = this.#parts
    if (parts === undefined) return
    parts.log?.sessions.close()
    await parts.sessions.close()
    parts.queue.close()
    parts.incoming.close()
    await this.#port?.close()
  }
}

/** As aedes publishes it, under its publisher's name. */
const received = (clientId: string, { topic, payload, qos, retain }: Packet): Packet => ({
  ...{ cmd: 'publish', topic, payload, qos, retain, dup: false, clientId },
})

function plain(given: Subscription): Subscription {
  const { topic, qos, rh, rap, nl, subscriptionIdentifier } = given
  const fields = { topic, qos, rh, rap, nl, subscriptionIdentifier }
  return Object.fromEntries(
    Object.entries(fields).filter(([, value]) => value !== undefined),
  ) as unknown as Subscription
}
