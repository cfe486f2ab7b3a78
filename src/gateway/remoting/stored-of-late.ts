// How many messages a topic got over the last minute, hour and day: counted by looking at where
// these times are in its queues, so that nothing has to be kept for each topic.
import type { QueueRange } from '../../model/message.ts'
import type { RecentCounts, SpanCount } from '../../model/status.ts'
import type { Call } from './call.ts'
import { offsetByTime, recordAt } from './record-at.ts'

const [MINUTE, HOUR, DAY] = [60, 3600, 86_400]

/** @throws BrokerError TOPIC_NOT_FOUND */
export async function storedOfLate(
  call: Pick<Call, 'context' | 'looks'>,
  topic: string,
): Promise<RecentCounts> {
  const { broker, clock } = call.context
  const nowMs = clock.now()
  const counts = [MINUTE, HOUR, DAY].map((seconds) => ({ messages: 0, seconds }))
  for (const range of await broker.topics.ranges(topic)) await addOf(call, range, nowMs, counts)
  const [minute, hour, day] = counts
  return { minute: minute!, hour: hour!, day: day! }
}

/** From the longest span to the shortest: most queues have nothing in any. */
async function addOf(
  call: Pick<Call, 'context' | 'looks'>,
  range: QueueRange,
  nowMs: number,
  counts: { messages: number; readonly seconds: SpanCount['seconds'] }[],
): Promise<void> {
  const { minOffset, maxOffset } = range
  if (maxOffset === minOffset) return
  const last = await recordAt(call, range, maxOffset - 1)
  for (const count of [...counts].reverse()) {
    const fromMs = nowMs - count.seconds * 1000
    if (last === undefined || last.storeTimestamp < fromMs) return
    count.messages += maxOffset - (await offsetByTime(call, range, fromMs, 'lower'))
  }
}
