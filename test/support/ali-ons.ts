// The unmodified ali-ons client from npm, as far as tests use it: it ships no types and is CommonJS.
import { createRequire } from 'node:module'
import { type ExecutionContext, registerCompletionHandler } from 'ava'

interface OnsMessage {
  topic: string
  tags: string
  keys: string
  body: Buffer
  msgId: string
  properties: Record<string, string>
  reconsumeTimes: number
  queueId: number
  queueOffset: number
}

interface OnsSendResult {
  sendStatus: string
  msgId: string
  messageQueue: { brokerName: string; queueId: number }
  queueOffset: number
}

interface OnsProducer {
  ready(): Promise<void>
  send(message: OnsMessage): Promise<OnsSendResult>
  close(): Promise<void>
  on(event: 'error', listener: (error: Error) => void): void
}

interface OnsConsumer {
  ready(): Promise<void>
  subscribe(topic: string, tags: string, handler: (message: OnsMessage) => Promise<void>): void
  close(): Promise<void>
  on(event: 'error', listener: (error: Error) => void): void
}

type Options = Record<string, unknown>

const ons = createRequire(import.meta.url)('ali-ons') as {
  Producer: new (options: Options) => OnsProducer
  Consumer: new (options: Options) => OnsConsumer
  Message: new (topic: string, tags: string, body: string | Buffer) => OnsMessage
}

// Its scheduled tasks sleep on for up to two minutes after `close`, and nothing of it can be told to stop.
registerCompletionHandler(() => process.exit())

export type { OnsConsumer, OnsMessage, OnsProducer, OnsSendResult }

const quiet = { info() {}, warn() {}, error() {}, debug() {} }

/** Keys that a broker without users never looks at; the http client is only for Aliyun's own endpoint. */
const common = (nameServer: string): Options => ({
  nameSrv: nameServer,
  accessKeyId: 'none',
  accessKeySecret: 'none',
  httpclient: {},
  logger: quiet,
})

export const onsMessage = (topic: string, tag: string, body: string | Buffer): OnsMessage =>
  new ons.Message(topic, tag, body)

/** Closed after the test. */
export async function onsProducer(
  t: ExecutionContext,
  nameServer: string,
  options: Options = {},
): Promise<OnsProducer> {
  const producer = new ons.Producer({
    ...common(nameServer),
    producerGroup: 'ONS_PRODUCER',
    ...options,
  })
  producer.on('error', () => {})
  t.teardown(() => producer.close())
  await producer.ready()
  return producer
}

/** Subscribed, started, and closed after the test. */
export async function onsConsumer(
  t: ExecutionContext,
  nameServer: string,
  subscription: {
    readonly group: string
    readonly topic: string
    readonly tags?: string
    readonly handler: (message: OnsMessage) => Promise<void>
  },
  options: Options = {},
): Promise<OnsConsumer> {
  const { group, topic, tags = '*', handler } = subscription
  const consumer = new ons.Consumer({ ...common(nameServer), consumerGroup: group, ...options })
  consumer.on('error', () => {})
  t.teardown(() => consumer.close())
  consumer.subscribe(topic, tags, handler)
  await consumer.ready()
  return consumer
}
