// Queue locks of strictly ordered consumption.
import { topicOfWire, topicOnWire } from '../../../model/names.ts'
import { REQUEST } from '../../../remoting/codes.ts'
import type { QueueRef } from '../../../remoting/requests/queue.ts'
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
  const own = ({ topic, queueId }: QueueRef) => ({ topic: topicOfWire(topic), brokerName, queueId })
  return { ...asked, queues: asked.queues.map(own) }
}

async function lock(call: Call): Promise<Answer> {
  const { clientId, consumerGroup, queues } = allowedQueues(call)
  const { groups, queueLocks } = call.context.broker
  // That a group is missing is told to members of other groups too.
  const hasLeft = call.client.hasLeft(consumerGroup)
  if (hasLeft && (await groups.get(consumerGroup)) !== undefined) {
    return answerBody(encodeLockedQueues([]))
  }
  const locked = await queueLocks.lock(consumerGroup, clientId, queues)
  const onWire = locked.map((queue) => ({ ...queue, topic: topicOnWire(queue.topic) }))
  return answerBody(encodeLockedQueues(onWire))
}

async function unlock(call: Call): Promise<Answer> {
  const { clientId, consumerGroup, queues } = allowedQueues(call)
  await call.context.broker.queueLocks.unlock(consumerGroup, clientId, queues)
  return DONE
}
