// rhea from npm: AMQP 1.0. The tag is the subject, the ordering key the group id.
import rhea, {
  type Connection,
  type ConnectionOptions,
  type Delivery,
  type EventContext,
  type Message,
  type Source,
} from 'rhea'
import type { Driver } from '../driver.ts'
import { bodyOf, keysOf, orderingKeyOf, propertiesOf, type Received, tagOf } from '../sample.ts'

const CREDIT = 200

function open(address: string, containerId: string): Connection {
  const [host = '', port] = address.split(':')
  const container = rhea.create_container({ id: containerId })
  const options: ConnectionOptions = {
    host,
    port: Number(port),
    username: 'anonymous',
    initial_reconnect_delay: 100,
    max_reconnect_delay: 500,
  }
  const connection = container.connect(options)
  // It connects again by itself; without listeners these would end the process.
  for (const event of ['disconnected', 'connection_error', 'error']) connection.on(event, () => {})
  return connection
}

const once = (target: { once(event: string, fn: () => void): unknown }, event: string) =>
  new Promise<void>((resolve) => target.once(event, resolve))

interface Waiting {
  resolve(): void
  reject(error: Error): void
}

export const driver: Driver = {
  async openProducer({ amqp }, topic) {
    const connection = open(amqp, 'matrix-producer')
    const sender = connection.open_sender(`/topics/${topic}`)
    const waiting = new Map<Delivery, Waiting>()
    const settled = (event: string, settle: (one: Waiting) => void): void => {
      sender.on(event, ({ delivery }: EventContext) => {
        const one = waiting.get(delivery!)
        waiting.delete(delivery!)
        if (one) settle(one)
      })
    }
    settled('accepted', (one) => one.resolve())
    for (const event of ['rejected', 'released', 'modified']) {
      settled(event, (one) => one.reject(new Error(event)))
    }
    connection.on('disconnected', () => {
      for (const one of waiting.values()) one.reject(new Error('disconnected'))
      waiting.clear()
    })
    await once(sender, 'sendable')
    return {
      send: (sample) =>
        new Promise((resolve, reject) => {
          if (!connection.is_open() || !sender.sendable()) return reject(new Error('no credit'))
          waiting.set(sender.send(messageOf(sample)), { resolve, reject })
        }),
      close: async () => {
        connection.close()
        await once(connection, 'connection_close')
      },
    }
  },

  async openConsumer({ amqp }, { topic, group, clientId, received }) {
    const connection = open(amqp, clientId)
    const receiver = connection.open_receiver({
      name: clientId,
      source: sourceOf(topic, group),
      credit_window: CREDIT,
      autoaccept: false,
    })
    receiver.on('message', ({ message, delivery }: EventContext) => {
      received(receivedOf(message!))
      delivery!.accept()
    })
    await once(receiver, 'receiver_open')
    return {
      close: async () => {
        connection.close()
        await once(connection, 'connection_close')
      },
    }
  },
}

/** A durable subscription is the broadcast that outlives the broker's crash. */
function sourceOf(topic: string, group: string | undefined): Source | string {
  if (group !== undefined) return `/topics/${topic}/groups/${group}`
  return { address: topic, capabilities: ['topic'], durable: 2, expiry_policy: 'never' } as never
}

const messageOf = (sample: Parameters<typeof bodyOf>[0]): Message => ({
  subject: tagOf(sample),
  group_id: orderingKeyOf(sample),
  application_properties: { ...propertiesOf(sample), KEYS: keysOf(sample).join(' ') },
  body: rhea.message.data_section(Buffer.from(bodyOf(sample))),
})

function receivedOf(message: Message): Received {
  const { KEYS: keys = '', ...own } = message.application_properties ?? {}
  const { content } = message.body as { content: Buffer }
  return {
    body: content,
    tag: message.subject,
    keys: String(keys).split(' ').filter(Boolean),
    orderingKey: message.group_id,
    properties: Object.fromEntries(
      Object.entries(own).map(([name, value]) => [name, String(value)]),
    ),
  }
}
