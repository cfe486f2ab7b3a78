// The native front-end: takes sockets, knows its connections, and tells consumers when their group
// changed. Everything else happens in a connection.
import { SharedSlice } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { BODY_BYTES_DEFAULT } from '../../model/limits.ts'
import type { NewMessage } from '../../model/message.ts'
import { OwnProperties } from '../../model/own-properties.ts'
import { Connections } from '../../net/connections.ts'
import type { Gateway, GatewayContext, GatewaySocket } from '../../port/gateway.ts'
import { Traffic } from '../../port/traffic.ts'
import { RESPONSE } from '../../remoting/codes.ts'
import { SendResponses } from '../../remoting/fast/send-response.ts'
import type { OpenAside } from '../../remoting/serving/aside.ts'
import { Serving, type ServingOptions } from '../../remoting/serving/connection.ts'
import type { Peer, RemotingContext } from './call.ts'
import { Connection } from './connection.ts'
import { HeldPops } from './held-pops.ts'
import { Inflation } from './inflation.ts'
import { rebalanceNotice } from './requests/clients.ts'
import { replyPush } from './requests/reply.ts'

/** Members that hear of a change of their group in one turn of the event loop. */
const TOLD_AT_ONCE_MAX = 256
const SWEEP_MS = 5_000
/**
 * A Java consumer looks for the routes of its topics before its first heartbeat makes them, again
 * during the rebalance one second later, and takes their queues in the rebalance after that, which
 * by itself is 20 s away.
 */
const TELL_AGAIN_MS = 2_000

export class RemotingGateway implements Gateway {
  readonly protocol = 'remoting'
  readonly #context: RemotingContext
  readonly #responses: SendResponses
  readonly #bodyBytesMax: number
  readonly #serving: Serving
  readonly #connections: Connections<Connection>
  readonly #consumers = new Map<string, Set<Connection>>()
  /** By client id. */
  readonly #producers = new Map<string, Set<Connection>>()
  readonly #aside: OpenAside | undefined
  readonly #watches: readonly Disposable[]
  /** Those that producers registered on, and others. */
  readonly #byId = new Map<string, Connection>()
  /** Groups whose members are told, from the end of this turn on. */
  readonly #changed = new Set<string>()
  #isTelling = false

  /** `aside`: another server, whose requests come on the same connections. */
  constructor(context: GatewayContext, options: ServingOptions = {}, aside?: OpenAside) {
    this.#aside = aside
    const traffic = new Traffic(context.numbers, this.protocol)
    const inflation = new Inflation(context.clock)
    const recordLooks = new SharedSlice(context.clock)
    const ownProperties = new OwnProperties(context.broker.identity.clusterName)
    const own = { traffic, heldPops: new HeldPops(), inflation, recordLooks, ownProperties }
    this.#context = { ...context, ...own }
    this.#responses = new SendResponses(context.broker.identity.storeHost)
    this.#bodyBytesMax = options.bodyBytesMax ?? BODY_BYTES_DEFAULT
    this.#serving = new Serving(context, options)
    this.#connections = new Connections(context.clock)
    this.#connections.every(SWEEP_MS, (nowMs) => {
      for (const connection of this.#connections) connection.sweep(nowMs)
    })
    this.#watches = [
      context.broker.clients.watch((group) => this.#groupChanged(group)),
      context.broker.transactions.watch({
        mayAsk: (candidate) => this.#byId.get(candidate.connectionId)?.mayAsk(candidate) === true,
        ask: (check) => this.#byId.get(check.connectionId)?.check(check),
      }),
      context.broker.replies.serve((clientId, reply) => this.#deliver(clientId, reply)),
    ]
  }

  get connections(): number {
    return this.#connections.size
  }

  accept(socket: GatewaySocket): void {
    this.#connections.accept(socket, (serial, gone) => {
      const connectionId = `remoting-${serial}`
      const connection = new Connection(socket, {
        context: this.#context,
        responses: this.#responses,
        bodyBytesMax: this.#bodyBytesMax,
        serving: this.#serving,
        connectionId,
        onGroups: (peer, joined, left) => this.#follow(peer, joined, left),
        tellAgain: (group) => {
          this.#context.clock.after(TELL_AGAIN_MS, () => this.#groupChanged(group))
        },
        onProducer: (peer, clientId, isHere) =>
          isHere ? put(this.#producers, clientId, peer) : take(this.#producers, clientId, peer),
        memberOf: (group, clientId) => this.#memberOf(group, clientId),
        aside: this.#aside,
        onGone: () => {
          this.#byId.delete(connectionId)
          gone()
        },
      })
      this.#byId.set(connectionId, connection)
      return connection
    })
  }

  close(deadlineMs: number): Promise<void> {
    for (const watch of this.#watches) watch[Symbol.dispose]()
    return this.#connections.close(deadlineMs)
  }

  #memberOf(group: string, clientId: string): Peer | undefined {
    for (const member of this.#consumers.get(group) ?? NONE) {
      if (member.client.clientId === clientId) return member
    }
    return undefined
  }

  async #deliver(clientId: string, reply: NewMessage): Promise<void> {
    const requester = newestOfOwner(this.#producers.get(clientId))
    if (requester === undefined) {
      throw new BrokerError('CLIENT_NOT_FOUND', `no client '${clientId}' is connected`)
    }
    const { broker, clock } = this.#context
    const push = replyPush(reply, broker.identity.storeHost, clock.now())
    const { code, remark } = await requester.request(push)
    if (code !== RESPONSE.success) {
      const text = `the client '${clientId}' refused the reply with code ${code}: ${remark ?? ''}`
      throw new BrokerError('ABORTED', text)
    }
  }

  #follow(connection: Connection, joined: readonly string[], left: readonly string[]): void {
    for (const group of joined) put(this.#consumers, group, connection)
    for (const group of left) take(this.#consumers, group, connection)
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
      // One told without need looks again, one that is not told goes on beside the new member.
      const group = await this.#context.broker.groups.get(consumerGroup).catch(() => undefined)
      this.#changed.delete(consumerGroup)
      const members = group?.quiet === true ? NONE : this.#consumers.get(consumerGroup)
      const push = rebalanceNotice(consumerGroup)
      for (const connection of members ?? NONE) {
        if (left === 0) left = await nextTellings()
        left--
        connection.push(push)
      }
    }
    this.#isTelling = false
  }
}

function put(table: Map<string, Set<Connection>>, name: string, connection: Connection): void {
  const known = table.get(name)
  if (known) known.add(connection)
  else table.set(name, new Set([connection]))
}

function take(table: Map<string, Set<Connection>>, name: string, connection: Connection): void {
  const known = table.get(name)
  known?.delete(connection)
  if (known?.size === 0) table.delete(name)
}

/**
 * A client that has come back may still have a connection that is dead. Of several users with one
 * client id it is that of the first: the others may have read it in a request, and want the reply.
 */
function newestOfOwner(connections: Iterable<Connection> = NONE): Connection | undefined {
  let owner: Connection | undefined
  let last: Connection | undefined
  for (const connection of connections) {
    owner ??= connection
    const { principal } = connection.client
    if (principal?.name === owner.client.principal?.name) last = connection
  }
  return last
}

const NONE: ReadonlySet<Connection> = new Set()

/** A new turn of the event loop. @returns how many members are told in it */
const nextTellings = (): Promise<number> =>
  new Promise((resolve) => setImmediate(() => resolve(TOLD_AT_ONCE_MAX)))
