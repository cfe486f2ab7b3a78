// Presence of clients: HEART_BEAT (34), UNREGISTER_CLIENT (35), GET_CONSUMER_LIST_BY_GROUP (38),
// NOTIFY_CONSUMER_IDS_CHANGED (40), CHECK_CLIENT_CONFIG (46).
import { EXPRESSION_TYPE, type MessageFilter } from '../../model/message-filter.ts'
import {
  boolean,
  decoder,
  encoder,
  list,
  number,
  object,
  only,
  type Shaped,
  string,
  stringOr,
  wire,
} from '../json/shape.ts'
import { layout, optional, text } from '../layout.ts'

export const SUBSCRIPTION = object(
  {
    codeSet: list(number),
    /** 'TAG' or 'SQL92'. */
    expressionType: stringOr('TAG'),
    /** The expression: '*', 'A || B', or SQL. */
    subString: string,
    subVersion: number,
    tagsSet: list(string),
    topic: string,
  },
  { classFilterMode: false },
)
export type SubscriptionEntry = Shaped<typeof SUBSCRIPTION>

const CONSUMER = object(
  {
    consumeFromWhere: stringOr('CONSUME_FROM_LAST_OFFSET'),
    /** CONSUME_PASSIVELY (push), CONSUME_ACTIVELY (pull) or CONSUME_POP. */
    consumeType: stringOr('CONSUME_PASSIVELY'),
    groupName: string,
    /** CLUSTERING or BROADCASTING. */
    messageModel: stringOr('CLUSTERING'),
    subscriptions: wire('subscriptionDataSet', list(SUBSCRIPTION)),
  },
  { unitMode: false },
)
export type ConsumerEntry = Shaped<typeof CONSUMER>

const HEARTBEAT = object(
  {
    clientId: wire('clientID', string),
    consumers: wire('consumerDataSet', list(CONSUMER)),
    producerGroups: wire('producerDataSet', list(only('groupName', string))),
    /** 5.x: the subscriptions are those of the last full heartbeat. */
    withoutSub: boolean,
  },
  { heartbeatFingerprint: 0 },
)
export type Heartbeat = Shaped<typeof HEARTBEAT>
export const decodeHeartbeat = decoder(HEARTBEAT)
export const encodeHeartbeat = encoder(HEARTBEAT)

/** A filter as heartbeats write it. */
export const expressionOf = (
  filter: MessageFilter,
): Omit<SubscriptionEntry, 'topic' | 'subVersion'> => ({
  subString: filter.expression,
  expressionType: EXPRESSION_TYPE[filter.kind],
  tagsSet: filter.kind === 'tags' ? [...(filter.tags ?? [])] : [],
  codeSet: [...(filter.hashes ?? [])],
})

export const UNREGISTER_CLIENT = layout({
  clientID: text,
  producerGroup: optional(text),
  consumerGroup: optional(text),
})

/** GET_CONSUMER_LIST_BY_GROUP, and what NOTIFY_CONSUMER_IDS_CHANGED carries. */
export const CONSUMER_GROUP = layout({ consumerGroup: text })

const CONSUMER_IDS = only('consumerIdList', list(string))
export const decodeConsumerIds = decoder(CONSUMER_IDS)
export const encodeConsumerIds = encoder(CONSUMER_IDS)

/** CHECK_CLIENT_CONFIG: is this subscription one that the broker can serve? */
export const decodeClientConfigCheck = decoder(
  object({
    clientId: string,
    group: string,
    subscription: wire('subscriptionData', SUBSCRIPTION),
  }),
)
