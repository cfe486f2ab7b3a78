// The native front-end: takes sockets, knows its connections, and tells consumers when their group
// changed. Everything else happens in a connection.
import type { Timer } from '../../clock.ts'
import { BODY_BYTES_DEFAULT } from '../../model/limits.ts'
import type { Gateway, GatewayContext, GatewaySocket } from '../../port/gateway.ts'
import { REQUEST } from '../../remoting/codes.ts'
import { SendResponses } from '../../remoting/fast/send-response.ts'
import { LargeFrames } from '../../remoting/large-frames.ts'
import { writeFields } from '../../remoting/layout.ts'
import { PartialFrames } from '../../remoting/partial-frames.ts'
import { CONSUMER_GROUP } from '../../remoting/requests/clients.ts'
import { seeOff } from '../net/farewell.ts'
import type { Push } from './call.ts'
import { Connection, type RemotingDeadlines } from './connection.ts'

export interface RemotingGatewayOptions extends Partial<RemotingDeadlines> {
  /** Longest body of a message, as the broker has it. */
  readonly bodyBytesMax?: number
  /** Of frames that are not whole yet, of all connections together. */
  readonly partialBytesMax?: number
}

const IDLE_MS = 120_000
/** Members that hear of a change of their group in one turn of the event loop. */
const TOLD_AT_ONCE_MAX = 256
const INTRODUCTION_MS = 10_000
const IDLE_SCAN_MS = 5_000
/**
 * A Java consumer looks for the routes of its topics before its first heartbeat makes them, again
 * during the rebalance one second later, and takes their queues in the rebalance after that, which
 * by itself is 20 s away.
 */
const TELL_AGAIN_MS = 2_000

export class RemotingGateway implements Gateway {
  readonly protocol = 'remoting'
  readonly #context: GatewayContext
  readonly #responses: SendResponses
  readonly #bodyBytesMax: number
  readonly #largeFrames: LargeFrames
  readonly #partialFrames: PartialFrames
  readonly #connections = new Set<Connection>()
  readonly #consumers = new Map<string, Set<Connection>>()
  readonly #idleScan: Timer
  readonly #watch: Disposable
  /** Groups whose members are told, from the end of this turn on. */
  readonly #changed = new Set<string>()
  #isTelling = false
  #serial = 0
  #isClosing = false
  #allGone: (() => void) | undefined

  constructor(context: GatewayContext, options: RemotingGatewayOptions = {}) {
    this.#context = context
    this.#responses = new SendResponses(context.broker.identity.storeHost)
    this.#bodyBytesMax = options.bodyBytesMax ?? BODY_BYTES_DEFAULT
    this.#largeFrames = new LargeFrames(context.clock, this.#bodyBytesMax)
    this.#partialFrames = new PartialFrames(options.partialBytesMax)
    const { idleMs = IDLE_MS, introductionMs = INTRODUCTION_MS } = options
    const deadlines = { idleMs, introductionMs }
    this.#idleScan = context.clock.every(IDLE_SCAN_MS, () => this.#closeOverdue(deadlines))
    this.#watch = context.broker.clients.watch((group) => this.#groupChanged(group))
  }

  get connections(): number {
    return this.#connections.size
  }

  accept(socket: GatewaySocket): void {
    if (this.#isClosing) {
      socket.destroy()
      return
    }
    const connection = new Connection(socket, {
      context: this.#context,
      responses: this.#responses,
      bodyBytesMax: this.#bodyBytesMax,
      largeFrames: this.#largeFrames,
      partialFrames: this.#partialFrames,
      connectionId: `remoting-${++this.#serial}`,
      onGroups: (peer, joined, left) => this.#follow(peer, joined, left),
      tellAgain: (group) => {
        this.#context.clock.after(TELL_AGAIN_MS, () => this.#groupChanged(group))
      },
      onGone: (peer) => this.#forget(peer),
    })
    this.#connections.add(connection)
  }

  async close(deadlineMs: number): Promise<void> {
    this.#isClosing = true
    this.#watch[Symbol.dispose]()
    this.#idleScan.cancel()
    for (const connection of this.#connections) connection.retire()
    const { clock } = this.#context
    const told = (allGone: () => void): void => {
      this.#allGone = allGone
    }
    await seeOff(this.#connections, clock, deadlineMs, told, () => {
      for (const connection of this.#connections) if (connection.isIdle) connection.end()
    })
  }

  #forget(connection: Connection): void {
    this.#connections.delete(connection)
    if (this.#connections.size === 0) this.#allGone?.()
  }

  #follow(connection: Connection, joined: readonly string[], left: readonly string[]): void {
    for (const group of joined) {
      const members = this.#consumers.get(group)
      if (members) members.add(connection)
      else this.#consumers.set(group, new Set([connection]))
    }
    for (const group of left) {
      const members = this.#consumers.get(group)
      members?.delete(connection)
      if (members?.size === 0) this.#consumers.delete(group)
    }
  }

  #groupChanged(group: string): void {
    this.#changed.add(group)
    if (this.#isTelling) return
    this.#isTelling = true
    void this.#tellChanged()
  }

  /** Some members a turn: a client may be in many groups, and a group may have many members. */
  async #tellChanged(): Promise<void> {
    let left = 0
    for (const consumerGroup of this.#changed) {
      if (left === 0) left = await nextTellings()
      const group = await this.#context.broker.groups.get(consumerGroup)
      this.#changed.delete(consumerGroup)
      const members = group?.quiet === true ? NONE : this.#consumers.get(consumerGroup)
      const fields = writeFields(CONSUMER_GROUP, { consumerGroup })
      const push: Push = { code: REQUEST.notifyConsumersChanged, fields }
      for (const connection of members ?? NONE) {
        if (left === 0) left = await nextTellings()
        left--
        connection.push(push)
      }
    }
    this.#isTelling = false
  }

  #closeOverdue(deadlines: RemotingDeadlines): void {
    const now = this.#context.clock.monotonic()
    for (const connection of this.#connections) {
      const reason = connection.overdue(now, deadlines)
      if (reason === undefined) continue
      const fields = { evt: 'remoting.overdue', remote: connection.session.address }
      this.#context.log.debug(fields, `a peer ${reason} and is let go`)
      connection.destroy()
    }
  }
}

const NONE: ReadonlySet<Connection> = new Set()

/** A new turn of the event loop. @returns how many members are told in it */
const nextTellings = (): Promise<number> =>
  new Promise((resolve) => setImmediate(() => resolve(TOLD_AT_ONCE_MAX)))
