// A connected client, as the parts that serve it need it.

import type { Principal } from '../../../access/auth.ts'
import type { BrokerError } from '../../../errors.ts'
import type { PacketOutput } from '../outgoing/packet-output.ts'
import type { ProtocolError } from '../packets/protocol.ts'
import type { Session } from './session.ts'
import type { ShareSource } from './subscriptions.ts'

export interface Peer {
  readonly isV5: boolean
  readonly isBridge: boolean
  readonly session: Session
  readonly principal: Principal
  readonly output: PacketOutput
  /** Messages of QoS 1 and 2 the client takes at a time. */
  readonly window: number
  /** Largest packet the client takes. */
  readonly packetBytesMax: number
  /** Topic aliases the client takes. */
  readonly aliasMax: number
  /** May reason strings be sent? */
  readonly wantsReasons: boolean
  /** Names this connection to the groups it receives from. */
  readonly memberId: string
  wantFlush(): void
  /** Packets written in this turn must wait for the session to be durable. */
  journal(): void
  /** `isFull` of what it publishes may have changed. */
  setReading(): void
  /** May the client read messages of this topic? */
  mayRead(topic: string): boolean
  /** Tells the broker which groups the client consumes. @throws SUBSCRIPTION_CONFLICT */
  register(groups: readonly ShareSource[]): Promise<void>
  /** The first message of the connection that is not taken, for the log. */
  refused(error: BrokerError): void
  /** Closes with a code (MQTT 5). */
  fail(error: ProtocolError): void
  /** Something in the background failed; the connection ends. */
  broken(error: unknown): void
}
