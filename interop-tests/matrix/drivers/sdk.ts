// Our own SDK.
import { connect } from '../../../src/client/index.ts'
import type { Driver } from '../driver.ts'
import { bodyOf, keysOf, orderingKeyOf, propertiesOf, tagOf } from '../sample.ts'

export const driver: Driver = {
  async openProducer({ nameServer }, topic) {
    const client = await connect({ nameServers: nameServer })
    return {
      send: async (sample) => {
        await client.send({
          topic,
          body: bodyOf(sample),
          tag: tagOf(sample),
          keys: keysOf(sample),
          orderingKey: orderingKeyOf(sample),
          properties: propertiesOf(sample),
        })
      },
      close: () => client.close(),
    }
  },

  async openConsumer({ nameServer }, { topic, group, clientId, received }) {
    const client = await connect({ nameServers: nameServer })
    const shared = { topic, group: group ?? clientId, broadcasting: group === undefined }
    await client.consume({ ...shared, from: 'first' }, (delivery) => {
      const { body, tag, keys, orderingKey, properties } = delivery
      received({ body, tag, keys, orderingKey, properties: Object.fromEntries(properties) })
    })
    return { close: () => client.close() }
  },
}
