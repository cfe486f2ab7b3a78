// What a member tells of itself: mqadmin and the dashboard ask its broker, which passes that on.
import { REQUEST, RESPONSE } from '../../remoting/codes.ts'
import type { Command } from '../../remoting/command.ts'
import type { PushAnswer } from '../../remoting/connection.ts'
import { readFields } from '../../remoting/layout.ts'
import {
  CONSUMER_OFFSETS,
  encodeMemberOffsets,
  encodeRunningInfo,
  type RunningMember,
} from '../../remoting/requests/relay.ts'

/** undefined: it is no question of this kind. */
export function answerOf(
  member: RunningMember,
  { code, fields }: Command,
  nowMs: number,
): PushAnswer | undefined {
  if (code === REQUEST.getConsumerRunningInfo) {
    return { code: RESPONSE.success, body: encodeRunningInfo(member, nowMs) }
  }
  if (code !== REQUEST.getConsumerStatus) return undefined
  const { topic } = readFields(CONSUMER_OFFSETS, fields)
  const queues = member.queues.filter(({ queue }) => queue.topic === topic)
  const offsets = queues.map(({ queue, committed }) => ({ queue, offset: committed }))
  return { code: RESPONSE.success, body: encodeMemberOffsets(offsets) }
}
