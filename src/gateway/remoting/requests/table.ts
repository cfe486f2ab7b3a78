// Every request that the front-end answers, by code; anything else is answered with "not supported".
// Sends are not here: they are gathered per socket chunk (send-batch.ts).
import type { RequestTable, Serve } from '../call.ts'
import { brokerRequests } from './broker.ts'
import { clientRequests } from './clients.ts'
import { groupRequests } from './groups.ts'
import { lookupRequests } from './lookup.ts'
import { offsetRequests } from './offsets.ts'
import { presenceRequests } from './presence.ts'
import { pullRequests } from './pull.ts'
import { queueLockRequests } from './queue-locks.ts'
import { resetRequests } from './reset.ts'
import { sendBackRequests } from './send-back.ts'
import { topicRequests } from './topics.ts'
import { transactionRequests } from './transactions.ts'

const FAMILIES: readonly RequestTable[] = [
  pullRequests,
  offsetRequests,
  clientRequests,
  sendBackRequests,
  queueLockRequests,
  lookupRequests,
  transactionRequests,
  topicRequests,
  groupRequests,
  resetRequests,
  presenceRequests,
  brokerRequests,
]

export const requestTable: RequestTable = new Map(
  FAMILIES.flatMap((family): [number, Serve][] => [...family]),
)
