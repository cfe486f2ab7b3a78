// The AMQP 1.0 front-end: takes sockets from the listener, one connection each, and owns what they
// share.
import { randomUUID } from 'node:crypto'
import type { Timer } from '../../clock.ts'
import type { Gateway, GatewayContext, GatewaySocket } from '../../port/gateway.ts'
import { ownVersion } from '../../version.ts'
import { seeOff } from '../net/farewell.ts'
import { TurnBudget } from '../net/turn-budget.ts'
import { OutboxTurn } from './codec/outbox.ts'
import { AmqpConnection, type ConnectionShare } from './connection.ts'
import { Containers } from './control/containers.ts'
import { createControlContainer } from './control/control-plane.ts'
import { IngestBudget } from './links/ingest.ts'
import { LinkClaims } from './links/link-claims.ts'
import { GroupMembers } from './links/presence.ts'
import { Subscriptions } from './links/subscriptions.ts'
import { AMQP_DEFAULTS, type AmqpOptions } from './options.ts'

const SWEEP_MS = 1_000
const RENEW_MS = 60_000

export class AmqpGateway implements Gateway {
  readonly protocol = 'amqp'
  readonly #share: ConnectionShare
  readonly #connections = new Set<AmqpConnection>()
  readonly #timers: Timer[]
  readonly #name = randomUUID().slice(0, 8)
  #accepted = 0
  #isClosing = false
  #whenEmpty: (() => void) | undefined

  constructor(context: GatewayContext, options: Partial<AmqpOptions> = {}) {
    const limits: AmqpOptions = { ...AMQP_DEFAULTS, ...options }
    const members = new GroupMembers()
    const containerId = context.broker.identity.brokerName
    this.#share = {
      context,
      limits,
      containerId,
      product: { name: 'TrivetMQ', version: ownVersion() },
      container: createControlContainer(containerId),
      turn: new OutboxTurn(),
      line: new TurnBudget(context.clock),
      budget: new IngestBudget(limits.unstoredBytesTotalMax),
      members,
      links: new LinkClaims(),
      subscriptions: new Subscriptions(context, members),
      containers: new Containers(),
    }
    this.#timers = [
      context.clock.every(SWEEP_MS, () => this.#each((connection) => connection.sweep())),
      context.clock.every(RENEW_MS, () => this.#each((connection) => connection.renew())),
    ]
  }

  get connections(): number {
    return this.#connections.size
  }

  accept(socket: GatewaySocket): void {
    if (this.#isClosing) {
      socket.destroy()
      return
    }
    const connectionId = `amqp-${this.#name}-${++this.#accepted}`
    const connection = new AmqpConnection(socket, connectionId, this.#share, () => {
      this.#connections.delete(connection)
      if (this.#connections.size === 0) this.#whenEmpty?.()
    })
    this.#connections.add(connection)
  }

  #each(visit: (connection: AmqpConnection) => void): void {
    for (const connection of this.#connections) visit(connection)
  }

  async close(deadlineMs: number): Promise<void> {
    this.#isClosing = true
    for (const timer of this.#timers) timer.cancel()
    this.#each((connection) => connection.close())
    await seeOff(this.#connections, this.#share.context.clock, deadlineMs, (allGone) => {
      this.#whenEmpty = allGone
    })
  }
}
