// A slave that is to be the master.
import { REQUEST } from '../../remoting/codes.ts'
import type { RemotingConnection } from '../../remoting/connection.ts'
import { readFields, writeFields } from '../../remoting/layout.ts'
import { PROMOTE, PROMOTE_ANSWER } from '../../remoting/requests/promotion.ts'
import { accepted, type CallOptions } from '../calls/calls.ts'

export interface PromoteOptions extends CallOptions {
  /** Also when acknowledged messages may be lost by it; default false. */
  readonly force?: boolean | undefined
}

/** What was fetched is synced first, and a new epoch written. */
const TIMEOUT_MS = 30_000

export async function promoteSlave(
  connection: RemotingConnection,
  force: boolean,
  options: CallOptions,
): Promise<number> {
  const fields = writeFields(PROMOTE, { force })
  const request = { timeoutMs: TIMEOUT_MS, ...options, fields }
  const response = await connection.request(REQUEST.promoteBroker, request)
  const what = `the promotion of ${connection.address}`
  return readFields(PROMOTE_ANSWER, accepted(response, what).fields).epoch
}
