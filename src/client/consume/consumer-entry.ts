// How a member of a group registers: the part of a heartbeat that brokers keep of a consumer.
import type { MessageFilter } from '../../model/message-filter.ts'
import { type ConsumerEntry, expressionOf } from '../../remoting/requests/clients.ts'
import type { MemberOptions } from './member-options.ts'
import type { StartAt } from './start-offset.ts'

/** @param subVersion a newer one replaces what the broker had of the group's subscriptions */
export function consumerEntry(
  options: MemberOptions,
  topics: Iterable<readonly [string, MessageFilter]>,
  subVersion: number,
): ConsumerEntry {
  return {
    groupName: options.group,
    consumeType: 'CONSUME_PASSIVELY',
    messageModel: options.broadcasting ? 'BROADCASTING' : 'CLUSTERING',
    consumeFromWhere: whereOf(options.from),
    subscriptions: Array.from(topics, ([topic, filter]) => ({
      topic,
      ...expressionOf(filter),
      subVersion,
    })),
  }
}

function whereOf(from: StartAt): string {
  if (from === 'first') return 'CONSUME_FROM_FIRST_OFFSET'
  return from === 'last' ? 'CONSUME_FROM_LAST_OFFSET' : 'CONSUME_FROM_TIMESTAMP'
}
