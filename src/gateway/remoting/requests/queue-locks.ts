// Queue locks of strictly ordered consumption.
import { REQUEST } from '../../../remoting/codes.ts'
import { decodeLockRequest, encodeLockedQueues } from '../../../remoting/requests/queue-locks.ts'
import { groupResource, topicResource } from '../address.ts'
import { type Answer, answerBody, authorize, type Call, DONE, type RequestTable } from '../call.ts'

export const queueLockRequests: RequestTable = new Map([
  [REQUEST.lockQueues, lock],
  [REQUEST.unlockQueues, unlock],
])

/**
 * Of this broker, whatever name of it a client has. @throws BrokerError PERMISSION_DENIED for the
 * first queue that is not the caller's to consume
 */
function allowedQueues(call: Call): ReturnType<typeof decodeLockRequest> {
  const asked = decodeLockRequest(call.body)
  authorize(call, 'consume', groupResource(asked.consumerGroup))
  for (const { topic } of asked.queues) authorize(call, 'consume', topicResource(topic))
  const { brokerName } = call.context.broker.identity
  return { ...asked, queues: asked.queues.map((queue) => ({ ...queue, brokerName })) }
}

async function lock(call: Call): Promise<Answer> {
  const { clientId, consumerGroup, queues } = allowedQueues(call)
  const { groups, queueLocks } = call.context.broker
  // That a group is missing is told to members of other groups too.
  const hasLeft = call.client.hasLeft(consumerGroup)
  if (hasLeft && (await groups.get(consumerGroup)) !== undefined) {
    return answerBody(encodeLockedQueues([]))
  }
  return answerBody(encodeLockedQueues(await queueLocks.lock(consumerGroup, clientId, queues)))
}

async function unlock(call: Call): Promise<Answer> {
  const { clientId, consumerGroup, queues } = allowedQueues(call)
  await call.context.broker.queueLocks.unlock(consumerGroup, clientId, queues)
  return DONE
}
