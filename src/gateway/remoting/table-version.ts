// The version of a table of definitions, as its readers compare it: every read counts as new,
// because no slave of ours copies tables this way.

import type { BrokerStatus } from '../../model/status.ts'
import type { DataVersion } from '../../remoting/requests/topics.ts'

export const tableVersion = (status: BrokerStatus, nowMs: number): DataVersion => ({
  counter: status.logEnd,
  stateVersion: 0,
  timestamp: nowMs,
})
