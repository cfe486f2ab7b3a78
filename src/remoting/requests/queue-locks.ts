// LOCK_BATCH_MQ (41) and UNLOCK_BATCH_MQ (42): the bodies of strictly ordered consumption.
import { jsonBody } from '../json/json-emitter.ts'
import { objectsAt, parseObject, textAt } from '../json/json-members.ts'
import { type QueueRef, queueOf, queueOut } from './queue.ts'

export interface LockRequest {
  readonly clientId: string
  readonly consumerGroup: string
  readonly queues: readonly QueueRef[]
}

export function decodeLockRequest(body: Buffer): LockRequest {
  const map = parseObject(body)
  return {
    clientId: textAt(map, 'clientId'),
    consumerGroup: textAt(map, 'consumerGroup'),
    queues: objectsAt(map, 'mqSet').map(queueOf),
  }
}

export const encodeLockRequest = (request: LockRequest): Buffer =>
  jsonBody({
    clientId: request.clientId,
    consumerGroup: request.consumerGroup,
    mqSet: request.queues.map(queueOut),
    onlyThisBroker: false,
  })

export const encodeLockedQueues = (queues: readonly QueueRef[]): Buffer =>
  jsonBody({ lockOKMQSet: queues.map(queueOut) })

export const decodeLockedQueues = (body: Buffer): readonly QueueRef[] =>
  objectsAt(parseObject(body), 'lockOKMQSet').map(queueOf)
