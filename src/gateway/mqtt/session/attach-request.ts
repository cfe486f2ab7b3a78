// A connection that asks for the session of its client id.
import type { Principal } from '../../../access/auth.ts'
import type { SessionHolder, Will } from './session.ts'

export interface AttachRequest {
  readonly clientId: string
  /** The user that the client connected as. */
  readonly principal: Principal
  readonly clean: boolean
  readonly expiryMs: number
  readonly will: Will | undefined
  readonly holder: SessionHolder
  /** Aborted when the connection ends: one that waits for its turn takes nothing over any more. */
  readonly signal: AbortSignal
}
