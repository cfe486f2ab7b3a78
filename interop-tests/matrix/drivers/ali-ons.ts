// ali-ons from npm, the native protocol as another project reads it.
import { createRequire } from 'node:module'
import type { Driver } from '../driver.ts'
import { bodyOf, keysOf, orderingKeyOf, propertiesOf, tagOf } from '../sample.ts'

interface OnsMessage {
  readonly tags?: string
  keys?: string | readonly string[]
  shardingKey?: string
  readonly properties: Record<string, string>
  readonly body: Buffer
}

interface OnsClient {
  ready(): Promise<void>
  close(): Promise<void>
  on(event: 'error', listener: (error: Error) => void): void
}

interface OnsProducer extends OnsClient {
  send(message: OnsMessage): Promise<{ readonly sendStatus: string }>
}

interface OnsConsumer extends OnsClient {
  subscribe(topic: string, expression: string, run: (message: OnsMessage) => Promise<void>): void
}

interface AliOns {
  readonly Producer: new (options: object) => OnsProducer
  readonly Consumer: new (options: object) => OnsConsumer
  readonly Message: new (topic: string, tags: string, body: string) => OnsMessage
}

const { Producer, Consumer, Message } = createRequire(import.meta.url)('ali-ons') as AliOns

const quiet = { info() {}, debug() {}, warn() {}, error() {} }
const common = (nameServer: string) => ({
  // It wants one even where no address is looked up by HTTP.
  httpclient: {},
  nameSrv: nameServer,
  accessKeyId: 'nobody',
  accessKeySecret: 'nothing',
  logger: quiet,
  // Shorter than its 30 s, for the crash of the broker.
  pollNameServerInteval: 2000,
})

/** Failures show in the promises; without a listener they would end the process. */
const ignored = (): void => {}

const KEY_SEPARATOR = ' '

export const driver: Driver = {
  async openProducer({ nameServer }, topic) {
    const producer = new Producer({ ...common(nameServer), producerGroup: 'PG_MATRIX' })
    producer.on('error', ignored)
    await producer.ready()
    return {
      async send(sample) {
        const message = new Message(topic, tagOf(sample), bodyOf(sample))
        message.keys = keysOf(sample)
        message.shardingKey = orderingKeyOf(sample)
        Object.assign(message.properties, propertiesOf(sample))
        const { sendStatus } = await producer.send(message)
        if (sendStatus !== 'SEND_OK') throw new Error(sendStatus)
      },
      close: () => producer.close(),
    }
  },

  async openConsumer({ nameServer }, { topic, group, clientId, received }) {
    const consumer = new Consumer({
      ...common(nameServer),
      consumerGroup: group ?? clientId,
      isBroadcast: group === undefined,
      // Shorter than its 10 s: two members share from early on.
      rebalanceInterval: 1000,
      consumeFromWhere: 'CONSUME_FROM_FIRST_OFFSET',
    })
    consumer.on('error', ignored)
    consumer.subscribe(topic, '*', async (message) => {
      const { keys = [], body, tags, shardingKey, properties } = message
      const own = Object.keys(propertiesOf({ producer: 'ali-ons', lane: 0, n: 0 }))
      received({
        body,
        tag: tags,
        keys: typeof keys === 'string' ? keys.split(KEY_SEPARATOR).filter(Boolean) : keys,
        // Others write the name that Java's clients use.
        orderingKey: shardingKey ?? properties['__SHARDINGKEY'],
        // All properties are one map to it, its machinery's among them.
        properties: Object.fromEntries(
          own.flatMap((name) => (properties[name] === undefined ? [] : [[name, properties[name]]])),
        ),
      })
    })
    await consumer.ready()
    return { close: () => consumer.close() }
  },
}
