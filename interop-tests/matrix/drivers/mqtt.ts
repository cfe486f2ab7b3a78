// mqtt.js from npm as a 3.1.1 and as a 5 client. The MQTT topic is topic/tag/key; a client of version 5 says
// the rest in user properties.
import { connectAsync, type IClientOptions, type IPublishPacket } from 'mqtt'
import type { Driver } from '../driver.ts'
import { bodyOf, keysOf, orderingKeyOf, propertiesOf, type Received, tagOf } from '../sample.ts'

const QOS = 1
/** A session that outlives the crash of the broker, for those that want every message. */
const SESSION_SECONDS = 3600

function mqttDriver(version: 4 | 5): Driver {
  const options = (clientId: string): IClientOptions => ({
    protocolVersion: version,
    clientId,
    clean: false,
    reconnectPeriod: 200,
    ...(version === 5 && { properties: { sessionExpiryInterval: SESSION_SECONDS } }),
  })
  return {
    async openProducer({ mqtt }, topic) {
      // Of two with one id, at whichever gateways, each would end the other's connection.
      const id = `producer-${version}-${Math.random().toString(36).slice(2)}`
      const client = await connectAsync(`mqtt://${mqtt}`, options(id))
      client.on('error', () => {})
      return {
        async send(sample) {
          const [key] = keysOf(sample)
          const name = `${topic}/${tagOf(sample)}/${key}`
          const userProperties = {
            ...propertiesOf(sample),
            KEYS: keysOf(sample).join(' '),
            SHARDING_KEY: orderingKeyOf(sample),
          }
          const properties = version === 5 ? { userProperties } : {}
          await client.publishAsync(name, bodyOf(sample), { qos: QOS, properties })
        },
        close: () => client.endAsync(),
      }
    },

    async openConsumer({ mqtt }, { topic, group, clientId, received }) {
      const client = await connectAsync(`mqtt://${mqtt}`, options(clientId))
      client.on('error', () => {})
      client.on('message', (_topic, _payload, packet) => received(receivedOf(packet)))
      const share = group === undefined ? '' : `$share/${group}/`
      await client.subscribeAsync(`${share}${topic}/#`, { qos: QOS })
      return { close: () => client.endAsync() }
    },
  }
}

function receivedOf({ topic, payload, properties }: IPublishPacket): Received {
  const [, tag, key] = topic.split('/')
  const user = Object.entries(properties?.userProperties ?? {})
  const { KEYS, SHARDING_KEY, ...own } = Object.fromEntries(
    user.map(([name, value]) => [name, String(value)]),
  )
  return {
    body: Buffer.from(payload),
    tag,
    keys: KEYS?.split(' ') ?? (key === undefined ? [] : [key]),
    orderingKey: SHARDING_KEY,
    properties: own,
  }
}

export const mqtt3 = mqttDriver(4)
export const mqtt5 = mqttDriver(5)
