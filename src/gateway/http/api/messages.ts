// Messages: found, read and sent.
import { z } from 'zod'
import { Delivery } from '../../../client/consume/delivery.ts'
import { Slice } from '../../../clock.ts'
import { BrokerError } from '../../../errors.ts'
import { formatHost } from '../../../model/host.ts'
import { parseOffsetMessageId } from '../../../model/message-id.ts'
import { RecordView } from '../../../model/record.ts'
import type { Broker } from '../../../port/broker.ts'
import { type ApiContext, type ApiQuestion, endpoint } from './endpoint.ts'
import { messageJson } from './message-json.ts'
import { publish } from './publishing.ts'
import { readQueue, readTopic } from './reading.ts'

const FOUND_MAX = 64
const FOUND_BYTES_MAX = 4 * 1024 * 1024
/** In base64, with everything else of the message. */
const publishBytesMax = (bodyBytesMax: number): number => Math.ceil(bodyBytesMax * 1.4) + 65_536

const whole = () => z.coerce.number().int().min(0).optional()

export const messageEndpoints = [
  endpoint({
    method: 'GET',
    path: '/topics/:topic/messages',
    summary: 'Messages of a topic: by key, by id, by place, by time, or the newest',
    query: z.strictObject({
      key: z.string().min(1).optional().describe('A business key; the newest come first.'),
      id: z.string().min(1).optional().describe('The id that the sender made.'),
      queue: whole().describe('With `offset`: from there on.'),
      offset: whole(),
      broker: z
        .string()
        .optional()
        .describe('Whose queue it is; needed where several brokers have one of this number.'),
      fromMs: whole().describe('Stored then or later; of all queues, the oldest first.'),
      max: z.coerce.number().int().min(1).max(FOUND_MAX).default(32),
    }),
    answers: 'The messages; of long bodies the first 1,024 bytes.',
    serve: findMessages,
  }),
  endpoint({
    method: 'GET',
    path: '/messages/:id',
    summary: 'One message by the id that says where it is stored',
    answers: 'The message with all of its body.',
    async serve({ params, principal, context }) {
      const { host, position } = parseOffsetMessageId(params['id']!)
      const { lookup } = context.broker
      const brokerName = await lookup.brokerAt(host)
      const record = brokerName && (await lookup.byPosition(brokerName, position))
      const message = record && new Delivery(new RecordView(record), brokerName)
      if (!message || message.offsetMessageId !== params['id']!.toUpperCase()) {
        throw new BrokerError('MESSAGE_NOT_FOUND', `no message has the id ${params['id']}`)
      }
      const { storedTopic: name } = message
      context.auth.authorize(principal, 'read', { kind: 'topic', name })
      return messageJson(message, true)
    },
  }),
  endpoint({
    method: 'POST',
    path: '/topics/:topic/messages',
    summary: 'Send a message',
    body: z.strictObject({
      body: z.string().optional().describe('Text; sent as UTF-8.'),
      bodyBase64: z.base64().optional().describe('Any bytes, instead of `body`.'),
      tag: z.string().optional(),
      keys: z.array(z.string()).optional(),
      orderingKey: z.string().optional(),
      properties: z.record(z.string(), z.string()).optional(),
      delayMs: z.number().optional(),
      priority: z.int().min(0).optional(),
      ttlMs: z.int().min(0).optional(),
    }),
    bodyBytesMax: async ({ broker }: ApiContext) =>
      publishBytesMax((await broker.status()).settings.bodyBytesMax),
    answers: 'Where it is stored, once it is on the disk.',
    async serve(asked) {
      const { body, bodyBase64, ...rest } = asked.body
      if ((body === undefined) === (bodyBase64 === undefined)) {
        throw new BrokerError('ARGUMENT_INVALID', "say 'body' or 'bodyBase64', one of the two")
      }
      const bytes = body ?? Buffer.from(bodyBase64!, 'base64')
      return publish(asked, { ...rest, topic: asked.params['topic']!, body: bytes })
    },
  }),
]

interface Question {
  readonly key?: string | undefined
  readonly id?: string | undefined
  readonly queue?: number | undefined
  readonly offset?: number | undefined
  readonly broker?: string | undefined
  readonly fromMs?: number | undefined
  readonly max: number
}

async function findMessages(asked: ApiQuestion<Question, unknown>) {
  const { params, query, principal, context, signal } = asked
  const topic = params['topic']!
  context.auth.authorize(principal, 'read', { kind: 'topic', name: topic })
  const { broker } = context
  if (query.key !== undefined || query.id !== undefined) {
    return { messages: await shown(await byKey(asked, topic), context) }
  }
  const { queue: queueId, offset, max, fromMs } = query
  if (queueId !== undefined && offset !== undefined) {
    const brokerName = query.broker ?? (await onlyBrokerOf(broker, topic, queueId))
    const read = await readQueue(broker, { topic, brokerName, queueId }, { offset, max }, signal)
    const { messages, nextOffset } = read
    return { messages: await shown(messages, context), nextOffset }
  }
  const show = (one: Delivery) => messageJson(one, false)
  return { messages: await readTopic(context, topic, { max, fromMs }, show, signal) }
}

/** Of the queue of this id. @throws BrokerError ARGUMENT_INVALID, TOPIC_NOT_FOUND */
async function onlyBrokerOf({ topics, identity }: Broker, topic: string, queueId: number) {
  const names = (await topics.ranges(topic))
    .filter((range) => range.queueId === queueId)
    .map(({ brokerName }) => brokerName)
  const [name = identity.brokerName] = names
  if (names.length <= 1) return name
  const text = `queue ${queueId} is there on ${names.join(', ')}: say which by 'broker'`
  throw new BrokerError('ARGUMENT_INVALID', text)
}

/** Over several turns: a body may have to be decompressed. */
async function shown(messages: readonly Delivery[], { clock }: Pick<ApiContext, 'clock'>) {
  const slice = new Slice(clock)
  const all: unknown[] = []
  for (const message of messages) {
    if (slice.isOver) await slice.rest()
    all.push(messageJson(message, false))
  }
  return all
}

async function byKey(
  { query, context }: ApiQuestion<Question, unknown>,
  topic: string,
): Promise<readonly Delivery[]> {
  const { key, id, max, fromMs } = query
  const { broker } = context
  const options = { max, maxBytes: FOUND_BYTES_MAX, ...(fromMs !== undefined && { fromMs }) }
  const records = await broker.lookup.byKey(topic, (id ?? key)!, options)
  const found: Delivery[] = []
  const names = new Map<string, string>()
  for (const bytes of records) {
    const record = new RecordView(bytes)
    const host = formatHost(record.storeHost)
    const name = names.get(host) ?? (await broker.lookup.brokerAt(record.storeHost)) ?? ''
    names.set(host, name)
    found.push(new Delivery(record, name))
  }
  // Keys and ids share one index.
  return found.filter((one) => (id === undefined ? one.keys.includes(key!) : one.messageId === id))
}
