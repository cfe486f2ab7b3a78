// Which groups read which topics by POP, as operators set it: durable, and the same for every
// gateway.
import { isRetryTopic } from '../../model/names.ts'
import type { Broker } from '../../port/broker.ts'
import {
  decodeRequestMode,
  encodeRequestMode,
  type RequestModeSetting,
} from '../../remoting/requests/assignments.ts'

const ID_PREFIX = 'request-mode/'

const idOf = (group: string, topic: string): string => `${ID_PREFIX}${group}/${topic}`

async function requestMode(
  { states }: Broker,
  group: string,
  topic: string,
): Promise<RequestModeSetting | undefined> {
  const state = await states.load(idOf(group, topic))
  return state === undefined ? undefined : decodeRequestMode(state.value)
}

/**
 * How the members of a group that subscribe to these topics pop them: a group pops all its topics
 * or none, for it has one retry topic. undefined: they read by queue.
 */
export async function popShare(
  broker: Broker,
  group: string,
  topics: readonly string[],
): Promise<number | undefined> {
  for (const topic of topics) {
    if (isRetryTopic(topic)) continue
    const setting = await requestMode(broker, group, topic)
    if (setting?.mode === 'POP') return setting.popShareQueueNum
  }
  return undefined
}

export async function setRequestMode(
  { states }: Broker,
  setting: RequestModeSetting,
): Promise<void> {
  const { consumerGroup, topic } = setting
  await states.save(idOf(consumerGroup, topic), encodeRequestMode(setting))
}

export async function requestModes({ states }: Broker): Promise<RequestModeSetting[]> {
  const settings: RequestModeSetting[] = []
  for await (const page of states.list(ID_PREFIX)) {
    for (const { value } of page) settings.push(decodeRequestMode(value))
  }
  return settings
}
