// LOCK_BATCH_MQ (41) and UNLOCK_BATCH_MQ (42): the bodies of strictly ordered consumption.
import { decoder, encoder, list, object, only, string, wire } from '../json/shape.ts'
import { QUEUE_REF } from './queue.ts'

const LOCK_REQUEST = object(
  { clientId: string, consumerGroup: string, queues: wire('mqSet', list(QUEUE_REF)) },
  { onlyThisBroker: false },
)
export const decodeLockRequest = decoder(LOCK_REQUEST)
export const encodeLockRequest = encoder(LOCK_REQUEST)

const LOCKED_QUEUES = only('lockOKMQSet', list(QUEUE_REF))
export const decodeLockedQueues = decoder(LOCKED_QUEUES)
export const encodeLockedQueues = encoder(LOCKED_QUEUES)
