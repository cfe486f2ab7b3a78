// The messages that a group gave up: read, and sent to their topic again, as the SDK does it.
import { z } from 'zod'
import { DeadLetters } from '../../../client/dead-letters.ts'
import { BrokerError } from '../../../errors.ts'
import { deadLetterTopic } from '../../../model/names.ts'
import { type ApiQuestion, endpoint } from './endpoint.ts'
import { readable } from './groups.ts'
import { messageJson } from './message-json.ts'
import { publish } from './publishing.ts'
import { readQueue } from './reading.ts'

const LISTED_MAX = 200
const REPLAYED_MAX = 100
const PULLED_AT_ONCE = 32

export const deadLetterEndpoints = [
  endpoint({
    method: 'GET',
    path: '/groups/:group/dead-letters',
    summary: 'Dead letters of a group',
    query: z.strictObject({
      fromMs: z.coerce.number().int().min(0).optional().describe('Given up then or later.'),
      max: z.coerce.number().int().min(1).max(LISTED_MAX).default(50),
    }),
    answers: 'The messages, queue by queue, the oldest first. They stay, replayed or not.',
    async serve(asked) {
      const { query, signal } = asked
      const letters = lettersOf(asked)
      await readable(asked)
      const messages: unknown[] = []
      for await (const message of letters.list(asked.params['group']!, {
        fromMs: query.fromMs,
        signal,
      })) {
        messages.push(messageJson(message, false))
        if (messages.length === query.max) break
      }
      return { messages }
    },
  }),
  endpoint({
    method: 'POST',
    path: '/groups/:group/dead-letters/replay',
    summary: 'Send dead letters to their topic again, where every group gets them',
    body: z.strictObject({
      ids: z.array(z.string().min(1)).min(1).max(REPLAYED_MAX).describe('Message ids.'),
    }),
    answers: 'For each id the id of the new message. What is replayed twice is sent twice.',
    async serve(asked) {
      const { body, signal, params } = asked
      const letters = lettersOf(asked)
      await readable(asked)
      const missing = new Set(body.ids)
      const found = []
      for await (const message of letters.list(params['group']!, { signal })) {
        if (missing.delete(message.messageId)) found.push(message)
        if (missing.size === 0) break
      }
      const [first] = missing
      if (first !== undefined) {
        const text = `'${params['group']}' has no dead letter with the id ${first}; none was sent`
        throw new BrokerError('MESSAGE_NOT_FOUND', text)
      }
      const replayed: unknown[] = []
      for (const message of found) {
        const { messageId, topic } = await letters.replay(message)
        replayed.push({ from: message.messageId, topic, messageId })
      }
      return { replayed }
    },
  }),
]

/** Over the broker of this process. @throws BrokerError PERMISSION_DENIED */
function lettersOf(asked: ApiQuestion<unknown, unknown>): DeadLetters {
  const { context, principal, params, signal } = asked
  const { broker, auth } = context
  const name = deadLetterTopic(params['group']!)
  auth.authorize(principal, 'read', { kind: 'topic', name })
  return new DeadLetters({
    queues: (topic) => broker.topics.ranges(topic),
    offsetByTime: ({ timestampMs, ...queue }) => broker.cursors.byTime(queue, timestampMs, 'lower'),
    async pull({ topic, queueId, brokerName = '', offset }) {
      const queue = { topic, queueId, brokerName }
      const read = await readQueue(broker, queue, { offset, max: PULLED_AT_ONCE }, signal)
      return { ...read, minOffset: 0, maxOffset: 0 }
    },
    send: (message) => publish(asked, message),
  })
}
