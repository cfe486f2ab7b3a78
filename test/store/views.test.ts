import test from 'ava'
import { DROP_KIND } from '../../src/store/views/dropped-topics.ts'
import { prefixRange } from '../../src/store/views/keys.ts'
import { liveBlocks } from '../../src/store/views/live-blocks.ts'
import { SealedKeyValue } from '../../src/store/views/sealed.ts'
import { Views } from '../../src/store/views/views.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { MemoryPlace } from '../support/memory-key-value.ts'
import { Random } from '../support/random.ts'

/** More than a call takes as arguments. */
const MANY = 130_000

async function opened() {
  const place = new MemoryPlace({ random: new Random(1) })
  const stored = new SealedKeyValue((await place.open('1', true))!)
  const views = new Views({
    stored,
    identity: 'a',
    logId: 1,
    clock: new FakeClock(),
    liveStore: liveBlocks(),
    damaged: (error) => {
      throw error
    },
  })
  const save = async (): Promise<void> => {
    await views.save(1).write(false)
    views.saved()
  }
  const countOf = async (prefix: 'Q' | 'B' | 'G'): Promise<number> => {
    let count = 0
    for await (const _ of stored.scan(...prefixRange(prefix))) count++
    return count
  }
  return { views, save, countOf }
}

test('any number of durable light queues is trimmed, and goes, at once', async (t) => {
  const { views, save } = await opened()
  const filters = Array.from({ length: MANY }, (_, i) => `T/${i}`)
  for (const filter of filters) views.light.bindDurable(filter)
  await views.trimBefore(1)
  for (const filter of filters) views.removeQueue(views.light.unbindDurable(filter)!)
  await save()
  t.true(views.hasGarbage)
})

test('of a topic that is dropped nothing is left, but where appends to it are under way', async (t) => {
  const { views, save, countOf } = await opened()
  const queueOf = (topic: string) => views.queues.queue(views.queues.topic(topic), 3)
  for (const topic of ['gone', 'back']) queueOf(topic).append(100, 200, 0, 0)
  await save()
  t.is(await countOf('Q'), 2)
  queueOf('back').assigned = 1
  views.dropTopic('gone', 300)
  views.dropTopic('back', 300)
  t.is(views.queues.find('gone', 3), undefined)
  t.is(views.queues.find('back', 3)?.next, 0)
  await save()
  while (views.hasGarbage) await views.clearGarbage()
  t.is(await countOf('Q'), 1)
  t.is(await countOf('B'), 0)
  t.is(await countOf('G'), 0)
})

test('trimmed blocks stay until a batch says that they are trimmed: a kill between leaves nothing missing', async (t) => {
  const { views, save, countOf } = await opened()
  const queue = views.queues.queue(views.queues.topic('T'), 0)
  for (let i = 0; i < 100; i++) queue.append(i * 100, 100, 0, 0)
  await save()
  t.is(await countOf('B'), 4)
  await views.trimBefore(7000)
  t.is(queue.min, 70)
  await views.clearGarbage()
  t.is(await countOf('B'), 4)
  await save()
  await views.clearGarbage()
  t.is(await countOf('B'), 2)
})

test('whenever a batch is written that lacks a drop, it says that what the drop is about is no more', async (t) => {
  const { views } = await opened()
  views.dropTopic('gone', 100)
  const trimming = views.trimBefore(200)
  t.true(views.trimmedTo === 200 || views.facts.get(DROP_KIND, 'gone') !== undefined)
  await trimming
  t.is(views.facts.get(DROP_KIND, 'gone'), undefined)
})
