// The messages that a group gave up: read, and sent to their topic again, as the SDK does it.
import { z } from 'zod'
import { DeadLetters } from '../../../client/dead-letters.ts'
import { BrokerError } from '../../../errors.ts'
import type { QueueName } from '../../../model/message.ts'
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
    answers:
      'For each id the id of the new message, and in `failed` those that were not taken, with why. What is replayed twice is sent twice.',
    async serve(asked) {
      const { body, signal, params } = asked
      const letters = lettersOf(asked)
      await readable(asked)
      const missing = new Set(body.ids)
      // Their places alone: a hundred bodies would be much.
      const found: Place[] = []
      for await (const message of letters.list(params['group']!, { signal })) {
        const { messageId, storedTopic: topic, brokerName, queueId, queueOffset } = message
        if (missing.delete(messageId)) {
          found.push({ messageId, queue: { topic, brokerName, queueId }, offset: queueOffset })
        }
        if (missing.size === 0) break
      }
      const [first] = missing
      if (first !== undefined) {
        const text = `'${params['group']}' has no dead letter with the id ${first}; none was sent`
        throw new BrokerError('MESSAGE_NOT_FOUND', text)
      }
      const replayed: unknown[] = []
      const failed: { from: string; code: string; error: string }[] = []
      for (const { messageId: from, queue, offset } of found) {
        try {
          const at = { offset, max: 1 }
          const { messages } = await readQueue(asked.context.broker, queue, at, signal)
          const [message] = messages
          if (message?.messageId !== from) throw gone(from)
          const { topic } = message
          replayed.push({ from, topic, messageId: (await letters.replay(message)).messageId })
        } catch (error) {
          // What was sent is told in any case: it would be sent twice by another try of all.
          signal.throwIfAborted()
          const { code, message } = BrokerError.from(error)
          if (found.length === 1) throw error
          failed.push({ from, code, error: message })
        }
      }
      return { replayed, failed }
    },
  }),
]

interface Place {
  readonly messageId: string
  readonly queue: QueueName
  readonly offset: number
}

const gone = (id: string): BrokerError =>
  new BrokerError('MESSAGE_NOT_FOUND', `retention took the dead letter ${id}`)

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
    send: async (message) => ({ ...(await publish(asked, message)), status: 'stored' }),
  })
}
