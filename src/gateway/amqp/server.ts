// The AMQP 1.0 front-end: takes sockets from the listener, one connection each, and owns what they
// share.
import { randomUUID } from 'node:crypto'
import { Connections } from '../../net/connections.ts'
import { TurnBudget } from '../../net/turn-budget.ts'
import type { AmqpLinkView, Gateway, GatewayContext, GatewaySocket } from '../../port/gateway.ts'
import { Traffic } from '../../port/traffic.ts'
import { ownVersion } from '../../version.ts'
import { AmqpConnection } from './connection.ts'
import type { ConnectionShare } from './connection-share.ts'
import { Containers } from './control/containers.ts'
import { createControlContainer } from './control/control-plane.ts'
import { TRANSACTION_BYTES_TOTAL_MAX } from './limits.ts'
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
  readonly #connections: Connections<AmqpConnection>
  readonly #watch: Disposable
  readonly #name = randomUUID().slice(0, 8)

  constructor(context: GatewayContext, options: Partial<AmqpOptions> = {}) {
    const limits: AmqpOptions = { ...AMQP_DEFAULTS, ...options }
    const members = new GroupMembers(context.broker.clients)
    const containerId = context.broker.identity.brokerName
    this.#share = {
      context,
      traffic: new Traffic(context.numbers, this.protocol),
      limits,
      containerId,
      product: { name: 'TrivetMQ', version: ownVersion() },
      container: createControlContainer(containerId),
      line: new TurnBudget(context.clock),
      budget: new IngestBudget(limits.unstoredBytesTotalMax),
      transactionBytes: { bytes: 0, bytesMax: TRANSACTION_BYTES_TOTAL_MAX },
      members,
      links: new LinkClaims(),
      subscriptions: new Subscriptions(context, members),
      containers: new Containers(),
    }
    this.#connections = new Connections(context.clock)
    if (context.views !== undefined) context.views.amqp = { links: () => this.#links() }
    this.#watch = context.auth.watch((user) => {
      for (const connection of this.#connections) connection.onUserChanged(user)
    })
    this.#connections.every(SWEEP_MS, () => {
      for (const connection of this.#connections) connection.sweep()
    })
    this.#connections.every(RENEW_MS, () => {
      for (const connection of this.#connections) connection.renew()
    })
  }

  get connections(): number {
    return this.#connections.size
  }

  *#links(): Generator<AmqpLinkView> {
    for (const connection of this.#connections) yield* connection.links()
  }

  accept(socket: GatewaySocket): void {
    this.#connections.accept(
      socket,
      (serial, gone) =>
        new AmqpConnection(socket, `amqp-${this.#name}-${serial}`, this.#share, gone),
    )
  }

  close(deadlineMs: number): Promise<void> {
    this.#watch[Symbol.dispose]()
    return this.#connections.close(deadlineMs)
  }
}
