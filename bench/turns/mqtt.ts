// What MQTT clients size: the filters of a session, the filters and the sessions that select one
// message.
import { connectAsync, type MqttClient } from 'mqtt'
import { connect, publish, subscribe } from '../../test/support/mqtt/mqtt-packets.ts'
import { RawPeer } from '../../test/support/peers/raw-peer.ts'
import { AT_A_TIME, count, inBatches } from './in-batches.ts'
import type { Request } from './requests.ts'

const host = '127.0.0.1'
const FILTERS = 10_000
const SHARES = 1_000
const RETAINED = 20_000
/** Levels of a name that 2 to this many filters select. */
const LEVELS = 13
const SESSIONS = 2_000
/** MQTT 5, session expiry: 16 minutes. */
const KEPT = { version: 5, clean: false, properties: Buffer.of(0x11, 0, 0, 4, 0) } as const

const selecting = (n: number): string =>
  count(LEVELS)
    .map((level) => ((n >>> level) & 1 ? '+' : 'x'))
    .join('/')
const selected = count(LEVELS)
  .map(() => 'x')
  .join('/')

export function mqttRequests(port: number): readonly Request<unknown>[] {
  const clientOf = (clientId: string, clean: boolean): Promise<MqttClient> =>
    connectAsync({ host, port, clientId, clean, protocolVersion: 4 })
  const subscribeAll = async (client: MqttClient, filters: readonly string[]): Promise<void> => {
    for (let from = 0; from < filters.length; from += AT_A_TIME) {
      await client.subscribeAsync(filters.slice(from, from + AT_A_TIME), { qos: 1 })
    }
  }
  const rawOf = async (clientId: string, filter: string): Promise<RawPeer> => {
    const peer = await RawPeer.connect(port)
    peer.send(connect(clientId, { clean: true }), subscribe(1, [[filter, 0]]))
    for (const _ of ['CONNACK', 'SUBACK']) await peer.readPacket()
    return peer
  }
  let selectingOne: MqttClient | undefined
  let peers: RawPeer[] = []
  return [
    {
      name: `an MQTT session of ${FILTERS} filters: made by SUBSCRIBEs of ${AT_A_TIME}`,
      run: async (round) => {
        const client = await clientOf(`filters-${round}`, false)
        await subscribeAll(
          client,
          count(FILTERS).map((n) => `made/${n}/+`),
        )
        await client.endAsync()
      },
    },
    {
      name: `an MQTT session of ${FILTERS} filters: taken up`,
      run: async (round) => {
        const client = await clientOf(`filters-${round}`, false)
        await client.publishAsync('made/1/x', 'x', { qos: 1 })
        await client.endAsync()
      },
    },
    {
      name: `an MQTT session of ${FILTERS} filters: deleted`,
      run: async (round) => {
        const client = await clientOf(`filters-${round}`, true)
        await client.endAsync()
      },
    },
    {
      name: `${FILTERS} SUBSCRIBEs of one filter by one session`,
      rounds: 1,
      run: async () => {
        const client = await clientOf('singles', false)
        await inBatches(FILTERS, (n) => client.subscribeAsync(`single/${n}/+`, { qos: 1 }))
        await client.endAsync()
      },
    },
    {
      name: `a SUBSCRIBE of ${FILTERS} filters`,
      run: async (round) => {
        const peer = await RawPeer.connect(port)
        const filters = count(FILTERS).map((n) => [`packet-${round}/${n}/+`, 1] as const)
        peer.send(connect(`packet-${round}`, KEPT), subscribe(1, filters, 5))
        for (const _ of ['CONNACK', 'SUBACK']) await peer.readPacket()
        peer.end()
      },
    },
    {
      name: `a session of ${SHARES} shared subscriptions: made, taken up, and deleted`,
      rounds: 1,
      run: async () => {
        const client = await clientOf('sharing', false)
        await subscribeAll(
          client,
          count(SHARES).map((n) => `$share/sharing-${n}/shared/${n}/+`),
        )
        await client.endAsync()
        await (await clientOf('sharing', false)).endAsync()
        await (await clientOf('sharing', true)).endAsync()
      },
    },
    {
      name: `UNSUBSCRIBEs of ${FILTERS} filters, ${AT_A_TIME} each`,
      rounds: 1,
      prepare: async () => {
        const client = await clientOf('unsubscribes', false)
        const filters = count(FILTERS).map((n) => `gone/${n}/+`)
        await subscribeAll(client, filters)
        return { client, filters }
      },
      run: async (_round, prepared) => {
        const { client, filters } = prepared as { client: MqttClient; filters: string[] }
        for (let from = 0; from < FILTERS; from += AT_A_TIME) {
          await client.unsubscribeAsync(filters.slice(from, from + AT_A_TIME))
        }
        await client.endAsync()
      },
    },
    {
      name: `a message that ${2 ** LEVELS} filters of one session select`,
      prepare: async () => {
        if (selectingOne !== undefined) return
        selectingOne = await clientOf('selecting', false)
        await subscribeAll(selectingOne, count(2 ** LEVELS).map(selecting))
      },
      run: async (round) => {
        const came = new Promise<void>((go) => selectingOne!.once('message', () => go()))
        const client = await clientOf(`sender-${round}`, true)
        await client.publishAsync(selected, 'x', { qos: 1 })
        await came
        await client.endAsync()
        if (round === 2) await selectingOne!.endAsync()
      },
    },
    {
      name: `a message that ${SESSIONS} sessions select by one filter`,
      prepare: async () => {
        if (peers.length > 0) return
        await inBatches(SESSIONS, async (n) => {
          peers.push(await rawOf(`listener-${n}`, 'heard/+'))
        })
      },
      run: async (round) => {
        const sender = await RawPeer.connect(port)
        sender.send(connect(`teller-${round}`), publish('heard/x', 'x'))
        await Promise.all(peers.map((peer) => peer.readPacket()))
        sender.end()
        if (round < 2) return
        for (const peer of peers) peer.end()
        peers = []
      },
    },
    {
      name: `a message that ${SESSIONS} sessions select by a filter each`,
      prepare: async () => {
        if (peers.length > 0) return
        await inBatches(SESSIONS, async (n) => {
          peers.push(await rawOf(`listener-${n}`, selecting(n)))
        })
      },
      run: async (round) => {
        const sender = await RawPeer.connect(port)
        sender.send(connect(`teller-${round}`), publish(selected, 'x'))
        await Promise.all(peers.map((peer) => peer.readPacket()))
        sender.end()
        if (round < 2) return
        for (const peer of peers) peer.end()
        peers = []
      },
    },
    {
      name: `a filter that selects ${RETAINED} retained messages`,
      prepare: async (round) => {
        const client = await clientOf(`retained-${round}`, true)
        if (round > 0) return client
        await inBatches(RETAINED, (n) =>
          client.publishAsync(`retained/${n % 100}/${n}`, 'x', { qos: 1, retain: true }),
        )
        return client
      },
      run: async (_round, prepared) => {
        const client = prepared as MqttClient
        let left = RETAINED
        const all = new Promise<void>((over) => {
          client.on('message', () => {
            if (--left === 0) over()
          })
        })
        await client.subscribeAsync('retained/#', { qos: 0 })
        await all
        await client.endAsync()
      },
    },
  ]
}
