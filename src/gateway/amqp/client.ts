// The client of an open connection: its sessions, its transactions, and what the broker's client
// registry knows of it.
import type { OpenFrame } from './codec/control-frames.ts'
import type { ConnectionShare } from './connection-share.ts'
import type { ControlPlane } from './control/control-plane.ts'
import { PARTIAL_MESSAGES_MAX } from './limits.ts'
import type { Ingest } from './links/ingest.ts'
import type { Peer } from './links/link.ts'
import { Presence } from './links/presence.ts'
import { LocalTransactions } from './links/transactions.ts'
import { Sessions } from './sessions.ts'

export interface AmqpClientParts {
  readonly peer: Peer
  readonly share: ConnectionShare
  readonly control: ControlPlane
  readonly ingest: Ingest
  readonly remote: string
  /** An attach that held the peer's frames back is decided. */
  resume(): void
  /** The control plane broke: a bug, and the end of the connection. */
  failed(error: Error): void
}

export class AmqpClient {
  readonly sessions: Sessions
  readonly transactions: LocalTransactions
  readonly presence: Presence

  constructor(open: OpenFrame, parts: AmqpClientParts) {
    const { peer, share, control, ingest } = parts
    const { context, limits, members, budget, links, subscriptions } = share
    const { broker, clock, log, auth } = context
    this.presence = new Presence(broker, log, members, {
      clientId: open.containerId,
      connectionId: peer.connectionId,
      address: parts.remote,
      language: open.product,
    })
    const partials = { bytes: 0, bytesMax: PARTIAL_MESSAGES_MAX * limits.messageBytesMax }
    this.transactions = new LocalTransactions({
      ...{ broker, clock, log, auth, traffic: share.traffic },
      ...{ principal: peer.principal, ingest, bytes: share.transactionBytes },
      transactionMs: limits.transactionMs,
    })
    this.sessions = new Sessions({
      ...{ peer, control, auth, links, subscriptions, presence: this.presence },
      intake: { ingest, budget, partials, transactions: this.transactions },
      channelsMax: limits.channelsMax,
      linksPerSessionMax: limits.linksPerSessionMax,
      lockMs: limits.lockMs,
      resume: () => parts.resume(),
      failed: (error) => parts.failed(error),
    })
  }

  /** `isLost`: the peer did not say goodbye, or with an error, or did wrong. */
  close(isLost: boolean): void {
    // First, or every link that closes would tell the registry about those that are left.
    this.presence.close()
    this.sessions.close(isLost)
  }
}
