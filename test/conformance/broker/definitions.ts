import { codeOf, codesOf, newMessage, pullRequest, topicOf } from '../../support/broker.ts'
import { eventually } from '../../support/waiting.ts'
import type { Case } from '../broker.ts'
import { nameOf } from './names.ts'
import { firstQueue, newGroup, newTopic, read, send } from './support.ts'

export function definitions(test: Case): void {
  test('a topic that was put is there, and may be put again', async (t, { port }) => {
    const topic = nameOf('topic')
    const queueIds = async (): Promise<number[]> => {
      const ranges = await port.topics.ranges(topic)
      return [...new Set(ranges.map(({ queueId }) => queueId))].sort()
    }
    t.is(await port.topics.get(topic), undefined)
    await port.topics.put(topicOf(topic, 2))
    await port.topics.put(topicOf(topic, 2))
    t.like(await port.topics.get(topic), { name: topic, readQueues: 2, writeQueues: 2 })
    t.deepEqual(await queueIds(), [0, 1])
    t.true((await port.topics.list()).some(({ name }) => name === topic))
    await port.topics.put(topicOf(topic, 3))
    t.deepEqual(await queueIds(), [0, 1, 2])
  })

  test('a topic has a name and queues that can be', async (t, { port }) => {
    for (const name of ['', 'a/b', 'grün', 'x'.repeat(128), '%LMQ%x', '__proto__ ']) {
      t.is(await codeOf(port.topics.put(topicOf(name, 1))), 'NAME_INVALID', name)
      t.deepEqual(codesOf(await port.publish([newMessage(name)])), ['NAME_INVALID'], name)
    }
    for (const queues of [0, -1, 1.5, 1025, Number.NaN]) {
      t.is(await codeOf(port.topics.put(topicOf(nameOf('topic'), queues))), 'ARGUMENT_INVALID')
    }
    const missing = nameOf('missing')
    t.is(await codeOf(port.topics.ranges(missing)), 'TOPIC_NOT_FOUND')
    t.is(await codeOf(port.topics.delete(missing)), 'TOPIC_NOT_FOUND')
  })

  test('a first message creates its topic where that is allowed, and ensuring does', async (t, {
    port,
  }) => {
    const [first, second] = [nameOf('topic'), nameOf('topic')]
    await port.publish([newMessage(first)])
    t.truthy(await port.topics.get(first))
    t.like(await port.topics.ensure(second), { name: second })
    t.like(await port.topics.ensure(second), { name: second })
  })

  test('a deleted topic is gone with its messages, also when it is made again', async (t, {
    port,
  }) => {
    const topic = await newTopic(port)
    await send(port, topic, 'old')
    await port.topics.delete(topic)
    t.is(await port.topics.get(topic), undefined)
    await port.topics.put(topicOf(topic, 1))
    const [range] = await port.topics.ranges(topic)
    t.is(Number(range?.maxOffset) - Number(range?.minOffset), 0)
  })

  test(
    'what clients may do is taken away from all of them, and given back',
    async (t, { port }) => {
      const { permission } = port
      const topic = await newTopic(port)
      await send(port, topic, 'before')
      const { brokerName } = await firstQueue(port, topic)
      const told = new Set<number>()
      const watch = permission.watch(() => void permission.get().then((perm) => told.add(perm)))
      t.is(await permission.get(), 6)
      t.is(await codeOf(permission.set(7)), 'ARGUMENT_INVALID')
      try {
        await permission.set(4)
        t.deepEqual(codesOf(await port.publish([newMessage(topic)])), ['PERMISSION_DENIED'])
        t.deepEqual(await read(port, topic, 1), ['before'])
        await permission.set(2)
        t.is(await permission.get(), 2)
        t.is(await codeOf(port.pull(pullRequest(topic, { brokerName }))), 'PERMISSION_DENIED')
      } finally {
        await permission.set(6)
      }
      await send(port, topic, 'after')
      t.deepEqual(await read(port, topic, 2), ['before', 'after'])
      await eventually(async () => told.has(6))
      watch[Symbol.dispose]()
    },
    'permission',
  )

  test('watchers of topics are told of a change until they stop watching', async (t, { port }) => {
    const [topic, later] = [nameOf('topic'), nameOf('topic')]
    const told = new Set<string>()
    let isTold = (): void => {}
    const watch = port.topics.watch((name) => {
      told.add(name)
      if (name === topic) isTold()
    })
    const news = new Promise<void>((resolve) => {
      isTold = resolve
    })
    await port.topics.put(topicOf(topic, 1))
    await news
    watch[Symbol.dispose]()
    await port.topics.put(topicOf(later, 1))
    await port.topics.get(later)
    t.false(told.has(later))
  })

  test('a group that was put is there with its retry topic, and can be changed', async (t, {
    port,
  }) => {
    const group = await newGroup(port)
    const definition = await port.groups.ensure(group)
    t.is(definition.name, group)
    t.truthy(await port.topics.get(`%RETRY%${group}`))
    await port.groups.put({ ...definition, retryTimesMax: 3 })
    await port.groups.put({ ...definition, retryTimesMax: 3 })
    t.is((await port.groups.get(group))?.retryTimesMax, 3)
    t.true((await port.groups.list()).some(({ name }) => name === group))
  })

  test('the retry topic of a group that was ensured has a queue of each broker', async (t, {
    port,
  }) => {
    const topic = await newTopic(port)
    const brokersOf = async (name: string): Promise<string[]> =>
      (await port.topics.ranges(name)).map(({ brokerName }) => brokerName)
    for (let n = 0; n < 5; n++) {
      const group = await newGroup(port)
      t.deepEqual(await brokersOf(`%RETRY%${group}`), await brokersOf(topic))
    }
  })

  test('a group has a legal name, and one that is not there is not found', async (t, { port }) => {
    const definition = await port.groups.ensure(nameOf('group'))
    const put = (changed: object) => codeOf(port.groups.put({ ...definition, ...changed }))
    t.is(await put({ name: 'not a name' }), 'NAME_INVALID')
    t.is(await put({ retryTimesMax: -2 }), 'ARGUMENT_INVALID')
    const missing = nameOf('missing')
    t.is(await port.groups.get(missing), undefined)
    t.is(await codeOf(port.groups.lags(missing)), 'GROUP_NOT_FOUND')
    t.is(await codeOf(port.groups.delete(missing)), 'GROUP_NOT_FOUND')
  })

  test('the status says whether the broker takes messages', async (t, { port }) => {
    const status = await port.status()
    t.true(status.writable)
    t.is(status.reason, undefined)
    t.deepEqual(status.identity, port.identity)
  })
}
