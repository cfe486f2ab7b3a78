// Runs ali-ons as its options say (ali-ons-client.ts) and prints what happened, one line of JSON each.
import { createRequire } from 'node:module'
import type { AliOnsOptions } from './ali-ons-client.ts'

interface OnsMessage {
  readonly msgId: string
  readonly topic: string
  readonly queueId: number
  readonly queueOffset: number
  readonly reconsumeTimes: number
  readonly tags?: string
  keys?: string | readonly string[]
  readonly properties: Record<string, string>
  readonly body: Buffer
  readonly bornTimestamp: number
}

interface OnsClient {
  ready(): Promise<void>
  close(): Promise<void>
  on(event: 'error', listener: (error: Error) => void): void
}

interface OnsProducer extends OnsClient {
  send(message: OnsMessage): Promise<{
    readonly sendStatus: string
    readonly msgId: string
    readonly messageQueue: { readonly queueId: number }
    readonly queueOffset: number
  }>
}

interface OnsConsumer extends OnsClient {
  subscribe(
    topic: string,
    expression: string,
    listener: (message: OnsMessage) => Promise<string | undefined>,
  ): void
}

interface AliOns {
  readonly Producer: new (options: object) => OnsProducer
  readonly Consumer: (new (options: object) => OnsConsumer) & { readonly ACTION_RETRY: string }
  readonly Message: new (topic: string, tags: string, body: string) => OnsMessage
}

const { Producer, Consumer, Message } = createRequire(import.meta.url)('ali-ons') as AliOns

const options = JSON.parse(process.argv[2]!) as AliOnsOptions

/** Of a steady producer. */
const PAUSE_MS = 50

const print = (event: object): void => void process.stdout.write(`${JSON.stringify(event)}\n`)

const quiet = { info() {}, debug() {}, warn() {}, error() {} }
const common = {
  // It wants one even where no address is looked up by HTTP.
  httpclient: {},
  nameSrv: options.nameServer,
  accessKeyId: options.accessKey ?? 'nobody',
  accessKeySecret: options.secretKey ?? 'nothing',
  logger: quiet,
}

function report(error: Error): void {
  const { message, name } = error
  print({ event: 'failed', error: name, message, code: (error as { code?: unknown }).code })
}

async function produce(): Promise<void> {
  const producer = new Producer({ ...common, producerGroup: options.group ?? 'PG_ALI' })
  producer.on('error', report)
  await producer.ready()
  const tags = options.tags ?? ['TagA']
  for (let i = 0; i < (options.count ?? 1); ) {
    const message = new Message(
      options.topic,
      tags[i % tags.length]!,
      `${options.body ?? 'message'}-${i}`,
    )
    message.keys = [`key-${i}`]
    message.properties['index'] = String(i)
    message.properties['text'] = 'grüße 中文 😀'
    try {
      const { sendStatus, msgId, messageQueue, queueOffset } = await producer.send(message)
      const { queueId } = messageQueue
      print({ event: 'sent', index: i, status: sendStatus, msgId, queueId, queueOffset })
      i++
    } catch (error) {
      report(error as Error)
      if (options.isSteady !== true) i++
    }
    if (options.isSteady === true) await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
  }
  await producer.close()
}

async function consume(): Promise<void> {
  const consumer = new Consumer({
    ...common,
    consumerGroup: options.group,
    isBroadcast: options.broadcast === true,
    // Shorter than its 10 s and 30 s, because a test waits for them.
    rebalanceInterval: 2000,
    pollNameServerInteval: 2000,
    consumeFromWhere: 'CONSUME_FROM_FIRST_OFFSET',
  })
  consumer.on('error', report)
  const deliveries = new Map<string, number>()
  consumer.subscribe(options.topic, options.expression ?? '*', async (message) => {
    const id = message.properties['index'] ?? message.msgId
    const times = (deliveries.get(id) ?? 0) + 1
    deliveries.set(id, times)
    print({
      event: 'got',
      msgId: message.msgId,
      topic: message.topic,
      queueId: message.queueId,
      queueOffset: message.queueOffset,
      reconsumeTimes: message.reconsumeTimes,
      tag: message.tags,
      keys: message.keys,
      properties: message.properties,
      body: message.body.toString('base64'),
      delayMs: Date.now() - message.bornTimestamp,
    })
    return times <= (options.failures ?? 0) ? Consumer.ACTION_RETRY : undefined
  })
  await consumer.ready()
  print({ event: 'ready' })
  await new Promise((resolve) => process.stdin.resume().once('end', resolve))
  await consumer.close()
}

await (options.role === 'produce' ? produce() : consume())
print({ event: 'done' })
process.exit(0)
