// The Gateway port: the front-end, as its process calls it, and its context: a broker, users,
// sockets.

import type { Accounts } from '../access/accounts.ts'
import type { Authenticator } from '../access/auth.ts'
import type { Clock } from '../clock.ts'
import type { Logger } from '../log.ts'
import type { Protocol } from '../model/client.ts'
import type { ReplicationStatus } from '../model/status.ts'
import type { BrokerQueues } from '../model/topic.ts'
import type { Numbers } from '../numbers/numbers.ts'
import type { Broker } from './broker.ts'

/** The context that every front-end is given; nothing else connects it to the process. */
export interface GatewayContext {
  readonly broker: Broker
  readonly auth: Authenticator
  /** Users that are made at run time; absent where those of the configuration are all. */
  readonly accounts?: Accounts | undefined
  readonly log: Logger
  readonly clock: Clock
  /** Of the process. */
  readonly numbers: Numbers
  /** Absent where no name server knows the broker. */
  readonly routes?: Routes | undefined
  readonly views?: FrontEndViews | undefined
  /** Absent where the log has no copies. */
  readonly replication?: ReplicationControl | undefined
  /**
   * Of a copy that native clients read from: where its master takes clients of the protocol
   * (host:port), as far as that is known now.
   */
  readonly master?: ((protocol: 'mqtt' | 'amqp') => string | undefined) | undefined
}

/** A broker and the copies of its log, for operators. */
export interface ReplicationControl {
  status(): ReplicationStatus
  /**
   * The slave is the master from here on; answers with the epoch that begins. Its connections end,
   * and it takes new ones as a master.
   * @throws NOT_SUPPORTED for a master; ABORTED where it would lose what was acknowledged, or may,
   * unless it is forced; READ_ONLY, BUSY: it is a slave as before
   */
  promote(isForced: boolean): Promise<number>
}

/** What front-ends keep, for operators to look at; each puts its own there. */
export interface FrontEndViews {
  mqtt?: MqttView
  /** Absent before the first connection: there are no links then. */
  amqp?: AmqpView
}

export interface AmqpView {
  /** In no order; may be taken one by one over several turns. */
  links(): Iterable<AmqpLinkView>
}

/** What a link is and has, whichever way its messages go. */
export interface AmqpLinkState {
  /** Of the client. A coordinator controls transactions. */
  readonly role: 'sender' | 'receiver' | 'coordinator'
  /** Of the node, as the client writes it; undefined for one that each message names. */
  readonly address: string | undefined
  /** Whose messages a receiver shares; undefined where it reads by position. */
  readonly group: string | undefined
  /** Messages that may still be sent on it. */
  readonly credit: number
  /** Deliveries that are not settled: by the client, or to a sender. */
  readonly unsettled: number
}

export interface AmqpLinkView extends AmqpLinkState {
  readonly name: string
  readonly connectionId: string
  readonly containerId: string
  /** undefined for a client without one. */
  readonly user: string | undefined
  /** Host and port of the client. */
  readonly remote: string
  /** Of its session, as the client numbers it. */
  readonly channel: number
}

export interface MqttView {
  sessions(): Iterable<{ readonly clientId: string }>
  session(clientId: string): MqttSessionView | undefined
  /**
   * The first names with a retained message that the filter selects, behind `after` ('': from the
   * first), and where to go on when the look was long.
   */
  retained(
    filter: string,
    after: string,
    max: number,
  ): { readonly names: readonly string[]; readonly seenTo: string | undefined }
}

export interface MqttSessionView {
  readonly clientId: string
  /** Whose it is. */
  readonly user: string | undefined
  readonly isConnected: boolean
  /** Epoch ms; undefined while it is connected. */
  readonly disconnectedMs: number | undefined
  /** How long it lives without a connection; undefined: for ever. */
  readonly expiryMs: number | undefined
  /** Messages that it was sent and has not acknowledged. */
  readonly inFlight: number
  readonly subscriptions: readonly { readonly filter: string; readonly qos: number }[]
}

/** This broker's routes at the name servers. */
export interface Routes {
  /** Has one of the name servers this broker's topics, as far as is known here? */
  readonly isKnown: boolean
  /**
   * Settles when those that answer know every topic as it is now, or after a second. Never rejects.
   */
  told(): Promise<void>
  /**
   * Queues of the topic to be read, on each broker, as a name server tells; undefined: none does.
   * Never rejects.
   */
  queuesOf(topic: string): Promise<readonly BrokerQueues[] | undefined>
}

/** A front-end: accepts sockets that the listener hands over, and lets them go in order. */
export interface Gateway {
  readonly protocol: Protocol | 'http'
  /**
   * The socket is paused; the gateway resumes it. Called after the listener's limits passed.
   */
  accept(socket: GatewaySocket): void
  /**
   * Stops taking, says goodbye in the protocol's terms, settles when every connection is gone or
   * the deadline passed.
   */
  close(deadlineMs: number): Promise<void>
  readonly connections: number
}

/**
 * The part of net.Socket a front-end may touch, so that tls, websocket and unix sockets fit too.
 */
export interface GatewaySocket {
  readonly remoteAddress: string
  readonly remotePort: number
  /** Host and port the client dialled, for route answers when nothing is advertised. */
  readonly localAddress: string
  readonly localPort: number
  /**
   * The user that the peer's certificate names, once it was verified: known when the first bytes
   * come, not before.
   */
  readonly certifiedUser: string | undefined
  /** Bytes written and not yet taken by the kernel. */
  readonly unsentBytes: number
  /** Written bytes are not the kernel's yet when `write` returns: TLS, WebSocket. */
  readonly keepsBytes?: boolean
  /** Chunks are valid only during the call: copy bytes to keep. At most one of these per socket. */
  onData(handler: (chunk: Buffer) => void): void
  /** The other side ended or the socket failed; called once, nothing follows. */
  onClose(handler: (error: Error | undefined) => void): void
  /** The unsent bytes fell to zero after a write that answered false. */
  onDrain(handler: () => void): void
  pause(): void
  resume(): void
  /**
   * Within the handler of data, at most once a call: the end of the chunk, which is not handled
   * yet. It comes again as a chunk, before all others, in a later turn of the event loop, while the
   * socket is not paused.
   */
  handBack(rest: Buffer): void
  /** The buffer is owned by the socket until it is sent. False: wait for drain. */
  write(bytes: Buffer): boolean
  /** Sends pending output, then closes. */
  end(bytes?: Buffer): void
  /** Closes at once. */
  destroy(): void
}
