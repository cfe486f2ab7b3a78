// The queues of each member, where the broker chooses them: QUERY_ASSIGNMENT (400),
// SET_MESSAGE_REQUEST_MODE (401) and GET_ALL_MESSAGE_REQUEST_MODE (402).
import { type JsonOut, jsonBody } from '../json/json-emitter.ts'
import { decoder, encoder, number, object, type Shape, type Shaped, string } from '../json/shape.ts'
import { QUEUE_REF, type QueueRef } from './queue.ts'

/** How the members of a group read a topic: queues of their own, or per message. */
export type RequestMode = 'PULL' | 'POP'

const MODE: Shape<RequestMode> = {
  of: (value) => (value === 'POP' ? 'POP' : 'PULL'),
  out: (mode) => mode,
}

const ASSIGNMENT_QUERY = object({
  topic: string,
  consumerGroup: string,
  clientId: string,
  strategyName: string,
  messageModel: string,
})
export type AssignmentQuery = Shaped<typeof ASSIGNMENT_QUERY>
export const decodeAssignmentQuery = decoder(ASSIGNMENT_QUERY)

/** Without queues: the members leave what they read. undefined: they go on as they are. */
export const encodeAssignments = (
  queues: readonly QueueRef[] | undefined,
  mode: RequestMode,
): Buffer =>
  jsonBody(
    queues === undefined
      ? {}
      : {
          messageQueueAssignments: queues.map((queue) => ({
            attachments: {},
            messageQueue: QUEUE_REF.out(queue),
            mode,
          })),
        },
  )

const REQUEST_MODE = object({
  consumerGroup: string,
  mode: MODE,
  /** How many further members' queues each member pops as well; 0: all pop all. */
  popShareQueueNum: number,
  topic: string,
})
export type RequestModeSetting = Shaped<typeof REQUEST_MODE>
export const decodeRequestMode = decoder(REQUEST_MODE)
export const encodeRequestMode = encoder(REQUEST_MODE)

export function encodeRequestModes(settings: readonly RequestModeSetting[]): Buffer {
  const byTopic = new Map<string, Map<string, JsonOut>>()
  for (const setting of settings) {
    const groups = byTopic.get(setting.topic) ?? new Map<string, JsonOut>()
    byTopic.set(setting.topic, groups.set(setting.consumerGroup, REQUEST_MODE.out(setting)))
  }
  return jsonBody({ messageRequestModeMap: byTopic })
}
