// What every step of the composition of a server has.

import type { UserStore } from '../access/user-store.ts'
import type { Clock } from '../clock.ts'
import type { Config } from '../config.ts'
import type { Listeners } from '../listeners.ts'
import type { ListeningProtocol } from '../listening.ts'
import type { LiveCertificates } from '../live-certificates.ts'
import type { Logger } from '../log.ts'
import type { AnyGateway } from '../net/any-gateway.ts'
import type { Numbers } from '../numbers/numbers.ts'
import type { Parts } from '../parts.ts'
import type { GatewayContext } from '../port/gateway.ts'
import type { OpenAside } from '../remoting/serving/aside.ts'
import type { Credentials } from '../remoting/signature.ts'

export interface Certified {
  readonly certificates: LiveCertificates
}

export interface Farewell {
  readonly deadlineMs: number
  /** Nothing is served at their addresses afterwards. */
  readonly isLast: boolean
}

export interface Composition extends Certified {
  readonly config: Config
  readonly log: Logger
  readonly clock: Clock
  readonly auth: UserStore
  readonly listeners: Listeners
  readonly parts: Parts
  /** Ends an opening that waits. */
  readonly signal?: AbortSignal | undefined
  readonly numbers: Numbers
  /** How the broker signs towards its name servers. */
  readonly trusted: Credentials | undefined
  /** That this role serves. */
  readonly protocols: readonly ListeningProtocol[]
  /** Clients are served by this from here on. */
  readonly serves: (context: GatewayContext) => void
  /** How clients are let go, now. */
  readonly leaving: () => Farewell
  /** At the addresses for every protocol, if there are any. */
  readonly any: AnyGateway
  /** What of the name server's requests come to the broker's native front-end, if any do. */
  readonly aside: OpenAside | undefined
}
