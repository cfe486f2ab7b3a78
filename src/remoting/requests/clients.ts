// Presence of clients: HEART_BEAT (34), UNREGISTER_CLIENT (35), GET_CONSUMER_LIST_BY_GROUP (38),
// NOTIFY_CONSUMER_IDS_CHANGED (40), CHECK_CLIENT_CONFIG (46).
import { EXPRESSION_TYPE, type MessageFilter } from '../../model/message-filter.ts'
import type { JsonMap } from '../json/json.ts'
import { type JsonOut, jsonBody } from '../json/json-emitter.ts'
import {
  flagAt,
  numberAt,
  objectAt,
  objectsAt,
  parseObject,
  textAt,
  textsAt,
} from '../json/json-members.ts'
import { layout, optional, text } from '../layout.ts'

export interface SubscriptionEntry {
  readonly topic: string
  /** The expression: '*', 'A || B', or SQL. */
  readonly subString: string
  /** 'TAG' or 'SQL92'. */
  readonly expressionType: string
  readonly subVersion: number
  readonly tagsSet: readonly string[]
  readonly codeSet: readonly number[]
}

export interface ConsumerEntry {
  readonly groupName: string
  /** CONSUME_PASSIVELY (push), CONSUME_ACTIVELY (pull) or CONSUME_POP. */
  readonly consumeType: string
  /** CLUSTERING or BROADCASTING. */
  readonly messageModel: string
  readonly consumeFromWhere: string
  readonly subscriptions: readonly SubscriptionEntry[]
}

export interface Heartbeat {
  readonly clientId: string
  readonly consumers: readonly ConsumerEntry[]
  readonly producerGroups: readonly string[]
  /** 5.x: the subscriptions are those of the last full heartbeat. */
  readonly withoutSub: boolean
}

export function decodeHeartbeat(body: Buffer): Heartbeat {
  const map = parseObject(body)
  return {
    clientId: textAt(map, 'clientID'),
    consumers: objectsAt(map, 'consumerDataSet').map(consumerOf),
    producerGroups: objectsAt(map, 'producerDataSet').map((entry) => textAt(entry, 'groupName')),
    withoutSub: flagAt(map, 'withoutSub'),
  }
}

const consumerOf = (map: JsonMap): ConsumerEntry => ({
  groupName: textAt(map, 'groupName'),
  consumeType: textAt(map, 'consumeType') || 'CONSUME_PASSIVELY',
  messageModel: textAt(map, 'messageModel') || 'CLUSTERING',
  consumeFromWhere: textAt(map, 'consumeFromWhere') || 'CONSUME_FROM_LAST_OFFSET',
  subscriptions: objectsAt(map, 'subscriptionDataSet').map(subscriptionOf),
})

export const subscriptionOf = (map: JsonMap): SubscriptionEntry => ({
  topic: textAt(map, 'topic'),
  subString: textAt(map, 'subString'),
  expressionType: textAt(map, 'expressionType') || 'TAG',
  subVersion: numberAt(map, 'subVersion'),
  tagsSet: textsAt(map, 'tagsSet'),
  codeSet: textsAt(map, 'codeSet').map(Number),
})

/** A filter as heartbeats write it. */
export const expressionOf = (
  filter: MessageFilter,
): Omit<SubscriptionEntry, 'topic' | 'subVersion'> => ({
  subString: filter.expression,
  expressionType: EXPRESSION_TYPE[filter.kind],
  tagsSet: filter.kind === 'tags' ? [...(filter.tags ?? [])] : [],
  codeSet: [...(filter.hashes ?? [])],
})

export const encodeHeartbeat = (heartbeat: Heartbeat): Buffer =>
  jsonBody({
    clientID: heartbeat.clientId,
    consumerDataSet: heartbeat.consumers.map((consumer) => ({
      consumeFromWhere: consumer.consumeFromWhere,
      consumeType: consumer.consumeType,
      groupName: consumer.groupName,
      messageModel: consumer.messageModel,
      subscriptionDataSet: consumer.subscriptions.map(subscriptionOut),
      unitMode: false,
    })),
    heartbeatFingerprint: 0,
    producerDataSet: heartbeat.producerGroups.map((groupName) => ({ groupName })),
    withoutSub: heartbeat.withoutSub,
  })

export const subscriptionOut = (entry: SubscriptionEntry): JsonOut => ({
  classFilterMode: false,
  codeSet: entry.codeSet,
  expressionType: entry.expressionType,
  subString: entry.subString,
  subVersion: entry.subVersion,
  tagsSet: entry.tagsSet,
  topic: entry.topic,
})

export const UNREGISTER_CLIENT = layout({
  clientID: text,
  producerGroup: optional(text),
  consumerGroup: optional(text),
})

/** GET_CONSUMER_LIST_BY_GROUP, and what NOTIFY_CONSUMER_IDS_CHANGED carries. */
export const CONSUMER_GROUP = layout({ consumerGroup: text })

export const encodeConsumerIds = (ids: readonly string[]): Buffer =>
  jsonBody({ consumerIdList: ids })

export const decodeConsumerIds = (body: Buffer): readonly string[] =>
  textsAt(parseObject(body), 'consumerIdList')

/** CHECK_CLIENT_CONFIG: is this subscription one that the broker can serve? */
export interface ClientConfigCheck {
  readonly clientId: string
  readonly group: string
  readonly subscription: SubscriptionEntry
}

export function decodeClientConfigCheck(body: Buffer): ClientConfigCheck {
  const map = parseObject(body)
  return {
    clientId: textAt(map, 'clientId'),
    group: textAt(map, 'group'),
    subscription: subscriptionOf(objectAt(map, 'subscriptionData')),
  }
}
