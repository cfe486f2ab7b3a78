// Which groups read which topics by POP, as operators set it: durable, and the same for every
// gateway.
import { BrokerError } from '../../errors.ts'
import { isRetryTopic } from '../../model/names.ts'
import type { Broker } from '../../port/broker.ts'
import {
  decodeRequestMode,
  encodeRequestMode,
  type RequestModeSetting,
} from '../../remoting/requests/assignments.ts'

const ID_PREFIX = 'request-mode/'
/** An operator makes each by hand, and a question brings all. */
const SETTINGS_MAX = 4096

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

/** @throws QUOTA_EXCEEDED */
export async function setRequestMode(broker: Broker, setting: RequestModeSetting): Promise<void> {
  const { consumerGroup, topic } = setting
  const id = idOf(consumerGroup, topic)
  const isNew = (await broker.states.load(id)) === undefined
  if (isNew && (await requestModes(broker)).length >= SETTINGS_MAX) {
    throw new BrokerError(
      'QUOTA_EXCEEDED',
      `there are ${SETTINGS_MAX} settings of how groups read topics already; delete groups or topics that are gone`,
    )
  }
  await broker.states.save(id, encodeRequestMode(setting))
}

/** The group or the topic is gone. */
export async function dropRequestModes(
  broker: Broker,
  gone: { readonly group: string } | { readonly topic: string },
): Promise<void> {
  for (const { consumerGroup, topic } of await requestModes(broker)) {
    const isGone = 'group' in gone ? consumerGroup === gone.group : topic === gone.topic
    if (isGone) await broker.states.delete(idOf(consumerGroup, topic))
  }
}

export async function requestModes({ states }: Broker): Promise<RequestModeSetting[]> {
  const settings: RequestModeSetting[] = []
  for await (const page of states.list(ID_PREFIX)) {
    for (const { value } of page) settings.push(decodeRequestMode(value))
  }
  return settings
}
