import type { ClientRegistration, GroupMode } from '../../src/model/client.ts'
import { EVERY_TAG } from '../../src/model/tag-filter.ts'
import { codeOf, receiveRequest } from '../support/broker.ts'
import type { Case } from './broker.ts'
import { nameOf } from './broker-names.ts'
import { firstQueue, newGroup, newTopic } from './broker-support.ts'

const client = (
  clientId: string,
  group: string,
  topic: string,
  mode: GroupMode = 'queue-assigned',
): ClientRegistration => ({
  clientId,
  connectionId: `${clientId} in ${group}`,
  protocol: 'remoting',
  address: '127.0.0.1:1',
  language: 'JAVA',
  version: 1,
  consumers: [
    {
      group,
      model: 'clustering',
      mode,
      subscriptions: [{ topic, filter: EVERY_TAG, version: 1 }],
      consumeType: 'CONSUME_PASSIVELY',
      consumeFrom: 'CONSUME_FROM_LAST_OFFSET',
    },
  ],
  producerGroups: [],
})

export function membership(test: Case): void {
  test('members of a group are there until they leave', async (t, { port }) => {
    const topic = await newTopic(port)
    const group = await newGroup(port)
    const { clients } = port
    await clients.register(client('b', group, topic))
    await clients.register(client('a', group, topic))
    await clients.register(client('a', group, topic))
    t.deepEqual(await clients.consumerIds(group), ['a', 'b'])
    await clients.unregister(`a in ${group}`)
    await clients.unregister(`a in ${group}`)
    t.deepEqual(await clients.consumerIds(group), ['b'])
    await clients.unregister(`b in ${group}`, group)
    t.deepEqual(await clients.consumerIds(group), [])
  })

  test('watchers of groups are told when members come and go', async (t, { port }) => {
    const topic = await newTopic(port)
    const group = await newGroup(port)
    let isTold = (): void => {}
    const next = () =>
      new Promise<void>((resolve) => {
        isTold = resolve
      })
    using _ = port.clients.watch((of) => {
      if (of === group) isTold()
    })
    const come = next()
    await port.clients.register(client('a', group, topic))
    await come
    const gone = next()
    await port.clients.unregister(`a in ${group}`)
    await gone
    t.pass()
  })

  test(
    'a group is shared by queue or per message, not both at once',
    async (t, { port }) => {
      const topic = await newTopic(port)
      const group = await newGroup(port)
      await port.clients.register(client('native', group, topic))
      t.is(await port.groups.mode(group), 'queue-assigned')
      const device = client('device', group, topic, 'per-message')
      t.is(await codeOf(port.clients.register(device)), 'GROUP_MODE_CONFLICT')
      t.is(await codeOf(port.receive(receiveRequest(topic, group))), 'GROUP_MODE_CONFLICT')
      await port.clients.unregister(`native in ${group}`)
      await port.clients.register(device)
      t.is(await port.groups.mode(group), 'per-message')
      await port.clients.unregister(`device in ${group}`)
    },
    'groupMode',
  )

  test('one client holds a queue until it lets go', async (t, { port }) => {
    const topic = await newTopic(port, 2)
    const group = await newGroup(port)
    await port.clients.register(client('a', group, topic))
    await port.clients.register(client('b', group, topic))
    const { brokerName } = await firstQueue(port, topic)
    const queues = [0, 1].map((queueId) => ({ topic, brokerName, queueId }))
    const lock = async (id: string) =>
      (await port.queueLocks.lock(group, id, queues)).map(({ queueId }) => queueId).sort()
    t.deepEqual(await lock('a'), [0, 1])
    t.deepEqual(await lock('a'), [0, 1])
    t.deepEqual(await lock('b'), [])
    await port.queueLocks.unlock(group, 'b', queues)
    t.deepEqual(await lock('b'), [])
    await port.queueLocks.unlock(group, 'a', queues.slice(1))
    t.deepEqual(await lock('b'), [1])
    const none = [{ topic: nameOf('missing'), brokerName, queueId: 0 }]
    t.deepEqual(await port.queueLocks.lock(group, 'a', none), [])
    for (const id of ['a', 'b']) {
      await port.queueLocks.unlock(group, id, queues)
      await port.clients.unregister(`${id} in ${group}`)
    }
  })
}
