// Every request that the front-end answers, by code; anything else is answered with "not
// supported". Sends are not here: they are gathered per socket chunk (send-batch.ts).
import { REQUEST } from '../../../remoting/codes.ts'
import type { RequestTable, Serve } from '../call.ts'
import { assignmentRequests } from './assignments.ts'
import { brokerRequests } from './broker.ts'
import { clientRequests } from './clients.ts'
import { groupRequests } from './groups.ts'
import { lookupRequests } from './lookup.ts'
import { maintenanceRequests } from './maintenance.ts'
import { offsetRequests } from './offsets.ts'
import { popRequests } from './pop.ts'
import { popNoticeRequests } from './pop-notice.ts'
import { popSettleRequests } from './pop-settle.ts'
import { presenceRequests } from './presence.ts'
import { progressRequests } from './progress.ts'
import { pullRequests } from './pull.ts'
import { queueEntryRequests } from './queue-entries.ts'
import { queueLockRequests } from './queue-locks.ts'
import { recallRequests } from './recall.ts'
import { relayRequests } from './relay.ts'
import { replyRequests } from './reply.ts'
import { resetRequests } from './reset.ts'
import { sendBackRequests } from './send-back.ts'
import { statisticsRequests } from './statistics.ts'
import { topicRequests } from './topics.ts'
import { transactionRequests } from './transactions.ts'
import { userRequests } from './users.ts'

const FAMILIES: readonly RequestTable[] = [
  pullRequests,
  popRequests,
  popSettleRequests,
  popNoticeRequests,
  assignmentRequests,
  offsetRequests,
  clientRequests,
  sendBackRequests,
  queueLockRequests,
  lookupRequests,
  transactionRequests,
  recallRequests,
  topicRequests,
  groupRequests,
  progressRequests,
  queueEntryRequests,
  statisticsRequests,
  resetRequests,
  presenceRequests,
  relayRequests,
  replyRequests,
  brokerRequests,
  maintenanceRequests,
  userRequests,
]

/**
 * Those whose work grows with the broker's tables, or with a list in the request: what stands
 * behind one in a chunk waits for a later turn, or hundreds of them would be served in one. An
 * answer's work is done in promises, so the time that it takes is not seen where it is asked for.
 */
const LONG: ReadonlySet<number> = new Set([
  REQUEST.heartbeat,
  REQUEST.unregisterClient,
  REQUEST.getConsumerList,
  REQUEST.lockQueues,
  REQUEST.unlockQueues,
  REQUEST.updateTopic,
  REQUEST.updateTopics,
  REQUEST.deleteTopic,
  REQUEST.updateGroup,
  REQUEST.updateGroups,
  REQUEST.deleteGroup,
  REQUEST.resetOffset,
  REQUEST.getAllTopicConfig,
  REQUEST.getAllGroupConfig,
  REQUEST.getAllConsumerOffset,
  REQUEST.getTopicStats,
  REQUEST.getConsumeStats,
  REQUEST.getBrokerConsumeStats,
  REQUEST.queryConsumeTimeSpan,
  REQUEST.queryCorrectionOffset,
  REQUEST.cloneGroupOffset,
  REQUEST.queryConsumeQueue,
  REQUEST.viewBrokerStats,
  REQUEST.getAllProducers,
  REQUEST.getConsumerOffsets,
  REQUEST.getConsumerConnections,
  REQUEST.getProducerConnections,
  REQUEST.queryTopicConsumers,
  REQUEST.queryConsumerTopics,
  REQUEST.queryConsumerSubscription,
  REQUEST.listUsers,
  REQUEST.listAcls,
])

/**
 * Those of them whose work is done when they wait for the disk or for name servers: what stands
 * behind one begins in a later turn, but not after it, and hundreds share appends and
 * registrations. And while the groups of a heartbeat are made, the end of its peer has to be seen.
 */
const STARTED_ONLY: ReadonlySet<number> = new Set([
  REQUEST.heartbeat,
  REQUEST.updateTopic,
  REQUEST.updateTopics,
  REQUEST.updateGroup,
  REQUEST.updateGroups,
])

export const isLongRequest = (code: number): boolean => LONG.has(code)

export const isStartedOnly = (code: number): boolean => STARTED_ONLY.has(code)

export const requestTable: RequestTable = new Map(
  FAMILIES.flatMap((family): [number, Serve][] => [...family]),
)
