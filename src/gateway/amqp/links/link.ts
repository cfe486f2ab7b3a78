// The interfaces between a session and its links, whichever way messages go, and of the connection
// that both use.

import type { Principal } from '../../../access/auth.ts'
import type { Clock } from '../../../clock.ts'
import type { Logger } from '../../../log.ts'
import type { Host } from '../../../model/host.ts'
import type { Output } from '../../../output.ts'
import type { Broker } from '../../../port/broker.ts'
import type { AmqpLinkState } from '../../../port/gateway.ts'
import type { Traffic } from '../../../port/traffic.ts'
import type { Flow } from '../codec/flow.ts'
import type { Transfer } from '../codec/transfer.ts'
import type { ControlledLink } from '../control/control-plane.ts'
import type { ErrorDescription } from '../errors.ts'
import type { LinkClaim } from './link-claims.ts'
import type { UnsettledBudget } from './unsettled-budget.ts'

export interface Peer {
  readonly broker: Broker
  readonly clock: Clock
  readonly log: Logger
  readonly traffic: Traffic
  readonly principal: Principal
  readonly containerId: string
  /** For logs and the client registry. */
  readonly connectionId: string
  /** Where its messages are born. */
  readonly bornHost: Host
  readonly output: Output
  /** The longest frame the peer takes, and no longer than a slab. */
  readonly sendFrameBytesMax: number
  readonly messageBytesMax: number
  /** Deliveries of all its links that it has not settled. */
  readonly unsettled: UnsettledBudget
  /** May more messages be written, or do enough bytes wait for the peer already? */
  readonly isWritable: boolean
  /** Bytes that a link may read at a time, though always one message. */
  readonly readBytesMax: number
  /** Does it at once, or in a later turn where links of all connections have used up this one. */
  inTurn(work: () => void): void
}

/** The numbers a link shares with all links of its session. */
export interface LinkSession {
  readonly channel: number
  readonly isOpen: boolean
  /** Sends the session's window, with a link's credit when one is given. */
  sendFlow(link: LinkCredit | undefined): void
  /** Takes the link down from our side and tells the peer why. */
  detach(link: Link, error: ErrorDescription): void
}

export interface LinkCredit {
  handle: number
  deliveryCount: number
  linkCredit: number
  drain: boolean
}

/** attaching -> attached -> closing (we detached and wait for the peer's) -> gone. */
export type LinkState = 'attaching' | 'attached' | 'closing' | 'gone'

export interface Link {
  readonly name: string
  /** As the peer numbers it. */
  readonly remoteHandle: number
  readonly state: LinkState
  /** Set once rhea has numbered it. */
  controlled: ControlledLink | undefined
  /** Held as long as the link is attached. */
  claim: LinkClaim | undefined
  /** The group of a durable subscription, which goes when the peer closes the link for good. */
  subscription: string | undefined
  /** Our attach is out: credit and messages may follow. */
  attached(): void
  onTransfer(transfer: Transfer, bytes: Buffer, end: number): void
  onFlow(flow: Flow): void
  /** For operators; undefined for a link that carries nothing. */
  describe(): AmqpLinkState | undefined
  /**
   * Lets go of everything; `isLost`: of a peer that was lost, or did wrong. Only the session calls
   * this.
   */
  close(state: 'closing' | 'gone', isLost?: boolean): void
}

/**
 * A link that carries nothing: one that is refused, which holds the peer's handle until the peer
 * detaches too, or one without a source, by which JMS looks a subscription up to end it.
 */
export class SilentLink implements Link {
  readonly name: string
  readonly remoteHandle: number
  state: LinkState
  controlled: ControlledLink | undefined
  claim: LinkClaim | undefined
  subscription: string | undefined

  constructor(name: string, remoteHandle: number, state: 'attaching' | 'closing') {
    this.name = name
    this.remoteHandle = remoteHandle
    this.state = state
  }

  attached(): void {
    this.state = 'attached'
  }

  onTransfer(): void {}

  onFlow(): void {}

  describe(): undefined {}

  close(state: 'closing' | 'gone'): void {
    this.state = state
  }
}
