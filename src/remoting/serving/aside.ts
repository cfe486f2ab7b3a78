// Requests of another server that come on the same connections: those of the name server, where it
// shares an address with the broker and RocketMQ's clients have one connection for both.
import type { GatewaySocket } from '../../port/gateway.ts'
import type { Command } from '../command.ts'
import type { Answer } from './connection.ts'

/** The other server, for one connection. */
export interface Aside {
  /**
   * undefined: a request that is none of its own. A promise never rejects.
   * @throws BrokerError
   */
  serve(command: Command): Answer | Promise<Answer> | undefined
  /** The connection ended. */
  close(): void
}

/**
 * `trust`: the peer has signed, and may send large frames.
 * @returns undefined for a connection that came by another address
 */
export type OpenAside = (socket: GatewaySocket, trust: () => void) => Aside | undefined
