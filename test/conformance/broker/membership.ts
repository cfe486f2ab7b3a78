import type { ClientRegistration, GroupMode } from '../../../src/model/client.ts'
import { EVERY_TAG, tagFilterOf } from '../../../src/model/tag-filter.ts'
import { PERM_WRITE } from '../../../src/model/topic.ts'
import { bodiesOf, codeOf, receiveRequest } from '../../support/broker.ts'
import type { Case } from '../broker.ts'
import { nameOf } from './names.ts'
import { firstQueue, newGroup, newTopic, send, WAIT_MS } from './support.ts'

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
    'a group has virtual members while it has members of both kinds',
    async (t, { port }) => {
      const topic = await newTopic(port, 4)
      const group = await newGroup(port)
      const { clients } = port
      await clients.register(client('native', group, topic))
      t.deepEqual(await clients.consumerIds(group), ['native'])
      await clients.register(client('device', group, topic, 'per-message'))
      const ids = await clients.consumerIds(group)
      t.is(ids.length, 2)
      const virtual = ids.find((id) => id !== 'native')!
      t.not(virtual, 'device')
      const shown = (await clients.list()).find(({ clientId }) => clientId === virtual)
      t.deepEqual(
        shown?.consumers.map((consumer) => [consumer.group, consumer.model]),
        [[group, 'clustering']],
      )
      t.deepEqual(await clients.virtualQueues(group, virtual), [])
      t.is(await clients.virtualQueues(group, 'native'), undefined)
      await clients.unregister(`device in ${group}`)
      t.deepEqual(await clients.consumerIds(group), ['native'])
      t.is(await clients.virtualQueues(group, virtual), undefined)
      await clients.unregister(`native in ${group}`)
    },
    'mixedGroups',
  )

  test(
    'consumers per message get every queue when the last native member has gone',
    async (t, { port }) => {
      const topic = await newTopic(port)
      const group = await newGroup(port)
      await port.clients.register(client('native', group, topic))
      await port.clients.register(client('device', group, topic, 'per-message'))
      await send(port, topic, 'a')
      t.deepEqual(await port.receive(receiveRequest(topic, group)), [])
      const received = port.receive(receiveRequest(topic, group, { waitMs: WAIT_MS }))
      await port.clients.unregister(`native in ${group}`)
      t.deepEqual(bodiesOf(await received), ['a'])
      await port.clients.unregister(`device in ${group}`)
    },
    'mixedGroups',
  )

  test('a topic that may not be read has no receivers', async (t, { port }) => {
    const topic = await newTopic(port)
    const group = await newGroup(port)
    const definition = await port.topics.get(topic)
    await port.topics.put({ ...definition!, perm: PERM_WRITE })
    const asked = codeOf(port.groups.checkReceiving(group, topic, EVERY_TAG))
    t.is(await asked, 'PERMISSION_DENIED')
    t.is(await codeOf(port.receive(receiveRequest(topic, group))), 'PERMISSION_DENIED')
  })

  test(
    'members of both kinds subscribe to the same',
    async (t, { port }) => {
      const topic = await newTopic(port)
      const group = await newGroup(port)
      const filter = tagFilterOf(['eu'])
      await port.clients.register(client('native', group, topic))
      const receive = receiveRequest(topic, group, { filter })
      t.is(await codeOf(port.receive(receive)), 'SUBSCRIPTION_CONFLICT')
      t.is(await codeOf(port.groups.checkReceiving(group, topic, filter)), 'SUBSCRIPTION_CONFLICT')
      t.is(await codeOf(port.groups.checkReceiving(group, topic, EVERY_TAG)), 'no error')
      await port.clients.unregister(`native in ${group}`)
      const other = await newTopic(port)
      await port.clients.register(client('device', group, other, 'per-message'))
      const late = client('late', group, topic)
      t.is(await codeOf(port.clients.register(late)), 'SUBSCRIPTION_CONFLICT')
      await port.clients.unregister(`device in ${group}`)
    },
    'mixedGroups',
  )

  test(
    'one client holds a queue until it lets go',
    async (t, { port }) => {
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
    },
    'queueLocks',
  )
}
