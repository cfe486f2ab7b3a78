// Queue locks of strictly ordered consumption.
import { REQUEST } from '../../../remoting/codes.ts'
import { decodeLockRequest, encodeLockedQueues } from '../../../remoting/requests/queue-locks.ts'
import { groupResource } from '../address.ts'
import { type Answer, answerBody, authorize, type Call, DONE, type RequestTable } from '../call.ts'

export const queueLockRequests: RequestTable = new Map([
  [REQUEST.lockQueues, lock],
  [REQUEST.unlockQueues, unlock],
])

async function lock(call: Call): Promise<Answer> {
  const { clientId, consumerGroup, queues } = decodeLockRequest(call.body)
  authorize(call, 'consume', groupResource(consumerGroup))
  const { queueLocks, identity } = call.context.broker
  const held = await queueLocks.lock(consumerGroup, clientId, queues)
  return answerBody(
    encodeLockedQueues(held.map((queue) => ({ ...queue, brokerName: identity.brokerName }))),
  )
}

async function unlock(call: Call): Promise<Answer> {
  const { clientId, consumerGroup, queues } = decodeLockRequest(call.body)
  authorize(call, 'consume', groupResource(consumerGroup))
  await call.context.broker.queueLocks.unlock(consumerGroup, clientId, queues)
  return DONE
}
