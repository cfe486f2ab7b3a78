// The queues of each member, where the broker chooses them: QUERY_ASSIGNMENT (400),
// SET_MESSAGE_REQUEST_MODE (401) and GET_ALL_MESSAGE_REQUEST_MODE (402).
import { jsonBody } from '../json/json-emitter.ts'
import { numberAt, objectAt, objectsAt, parseObject, textAt } from '../json/json-members.ts'
import { type QueueRef, queueOf, queueOut } from './queue.ts'

/** How the members of a group read a topic: queues of their own, or per message. */
export type RequestMode = 'PULL' | 'POP'

export interface AssignmentQuery {
  readonly topic: string
  readonly consumerGroup: string
  readonly clientId: string
  readonly strategyName: string
  readonly isBroadcasting: boolean
}

export function decodeAssignmentQuery(body: Buffer): AssignmentQuery {
  const map = parseObject(body)
  return {
    topic: textAt(map, 'topic'),
    consumerGroup: textAt(map, 'consumerGroup'),
    clientId: textAt(map, 'clientId'),
    strategyName: textAt(map, 'strategyName'),
    isBroadcasting: textAt(map, 'messageModel') === 'BROADCASTING',
  }
}

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
            messageQueue: queueOut(queue),
            mode,
          })),
        },
  )

export const decodeAssignments = (
  body: Buffer,
): readonly { readonly queue: QueueRef; readonly mode: RequestMode }[] =>
  objectsAt(parseObject(body), 'messageQueueAssignments').map((assignment) => ({
    queue: queueOf(objectAt(assignment, 'messageQueue')),
    mode: modeOf(textAt(assignment, 'mode')),
  }))

export interface RequestModeSetting {
  readonly topic: string
  readonly consumerGroup: string
  readonly mode: RequestMode
  /** How many further members' queues each member pops as well; 0: all pop all. */
  readonly popShareQueueNum: number
}

const modeOf = (text: string): RequestMode => (text === 'POP' ? 'POP' : 'PULL')

export function decodeRequestMode(body: Buffer): RequestModeSetting {
  const map = parseObject(body)
  return {
    topic: textAt(map, 'topic'),
    consumerGroup: textAt(map, 'consumerGroup'),
    mode: modeOf(textAt(map, 'mode')),
    popShareQueueNum: numberAt(map, 'popShareQueueNum'),
  }
}

const settingOut = ({ topic, consumerGroup, mode, popShareQueueNum }: RequestModeSetting) => ({
  consumerGroup,
  mode,
  popShareQueueNum,
  topic,
})

export const encodeRequestMode = (setting: RequestModeSetting): Buffer =>
  jsonBody(settingOut(setting))

export function encodeRequestModes(settings: readonly RequestModeSetting[]): Buffer {
  const byTopic = new Map<string, Map<string, ReturnType<typeof settingOut>>>()
  for (const setting of settings) {
    const groups = byTopic.get(setting.topic) ?? new Map()
    byTopic.set(setting.topic, groups.set(setting.consumerGroup, settingOut(setting)))
  }
  return jsonBody({ messageRequestModeMap: byTopic })
}
