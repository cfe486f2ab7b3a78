// Consuming in a group through the SDK: sharing, order, retry.
import test from 'ava'
import { eventually, latch } from '../../support/waiting.ts'
import {
  assignments,
  type MakeClient,
  type MakeTopic,
  nameOf,
  numbers,
  sendMany,
  WAIT_MS,
} from './support.ts'

export function consuming(client: MakeClient, topic: MakeTopic): void {
  test('a handler gets every message once; the next consumer goes on where it stopped', async (t) => {
    const mq = await client(t)
    const name = await topic(mq)
    const group = nameOf('g')
    const seen: string[] = []
    const all = latch(50)
    const consumer = await mq.consume(
      { group, topic: name, from: 'first', concurrency: 8 },
      (d) => {
        seen.push(d.text())
        all.count()
      },
    )
    await sendMany(mq, name, 0, 50)
    await all.reached
    await consumer.close()
    await sendMany(mq, name, 50, 70)
    const rest = latch(20)
    await using _ = await mq.consume({ group, topic: name, from: 'first' }, (d) => {
      seen.push(d.text())
      rest.count()
    })
    await rest.reached
    t.deepEqual(seen.toSorted(), numbers(0, 70).toSorted())
  })

  test('what is not settled comes to the next consumer', async (t) => {
    const mq = await client(t)
    const name = await topic(mq, 1)
    const group = nameOf('g')
    await sendMany(mq, name, 0, 10)
    for await (const delivery of mq.subscribe({ group, topic: name, from: 'first' })) {
      if (delivery.text() === '4') break
      await delivery.ack()
    }
    const got: string[] = []
    while (got.length < 6) {
      const some = await mq.poll({ group, topic: name }, { max: 32, waitMs: WAIT_MS })
      got.push(...some.map((delivery) => delivery.text()))
    }
    t.deepEqual(got, numbers(4, 10))
  })

  test('tags: only those asked for come', async (t) => {
    const mq = await client(t)
    const name = await topic(mq)
    const seen: string[] = []
    const all = latch(20)
    // 'Aa' and 'BB' have one hash; the broker cannot tell them apart.
    const tags = ['Aa', 'c']
    await mq.consume({ group: nameOf('g'), topic: name, tags, from: 'first' }, (delivery) => {
      seen.push(delivery.tag ?? 'none')
      all.count()
    })
    const sent = ['Aa', 'BB', 'c', undefined].flatMap((tag) =>
      Array.from({ length: 10 }, () => mq.send({ topic: name, body: 'x', tag })),
    )
    await Promise.all(sent)
    await all.reached
    t.deepEqual(new Set(seen), new Set(tags))
    t.is(seen.length, 20)
  })

  test('one group may consume several topics, each with its tags', async (t) => {
    const mq = await client(t)
    const [a, b] = [await topic(mq), await topic(mq)]
    const seen: string[] = []
    const both = latch(2)
    await mq.consume(
      { group: nameOf('g'), topics: { [a]: 'x', [b]: '*' }, from: 'first' },
      (delivery) => {
        seen.push(`${delivery.topic} ${delivery.text()}`)
        both.count()
      },
    )
    await mq.send({ topic: a, body: 'no', tag: 'y' })
    await mq.send({ topic: a, body: 'yes', tag: 'x' })
    await mq.send({ topic: b, body: 'too' })
    await both.reached
    t.deepEqual(seen.toSorted(), [`${a} yes`, `${b} too`].toSorted())
  })

  // A group would not do: Apache hands out a young queue from its start to a group that is new.
  test('a reader starts at what is sent from now on', async (t) => {
    const mq = await client(t)
    const name = await topic(mq, 1)
    await sendMany(mq, name, 0, 3)
    // Apache tells of a message some time after it accepted it.
    await eventually(async () => ((await mq.queues(name))[0]!.maxOffset === 3 ? true : undefined))
    await using reader = mq.read({ topic: name })
    await reader.ready
    await mq.send({ topic: name, body: 'new' })
    t.is((await reader.next()).value!.text(), 'new')
  })

  test('poll gives what there is at once, waits for the first, and no longer than asked', async (t) => {
    const mq = await client(t)
    const name = await topic(mq)
    const source = { group: nameOf('g'), topic: name, from: 'first' as const }
    t.deepEqual(await mq.poll(source, { max: 5 }), [])
    const began = performance.now()
    t.deepEqual(await mq.poll(source, { max: 5, waitMs: 300 }), [])
    t.true(performance.now() - began >= 290)
    const waiting = mq.poll(source, { max: 5, waitMs: WAIT_MS })
    await mq.send({ topic: name, body: 'there' })
    const [got] = await waiting
    t.is(got!.text(), 'there')
    await got!.ack()
    const gone = new AbortController()
    const given = mq.poll(source, { waitMs: WAIT_MS, signal: gone.signal })
    gone.abort(new Error('enough'))
    await t.throwsAsync(given, { message: 'enough' })
  })

  test('messages of one ordering key are handled one after the other', async (t) => {
    const mq = await client(t)
    const name = await topic(mq)
    const running = new Set<string>()
    const overlaps: string[] = []
    const order = new Map<string, number[]>()
    const all = latch(60)
    await mq.consume(
      { group: nameOf('g'), topic: name, from: 'first', concurrency: 16 },
      async (delivery) => {
        const key = delivery.orderingKey!
        if (running.has(key)) overlaps.push(key)
        running.add(key)
        await new Promise((resolve) => setImmediate(resolve))
        order.set(key, [...(order.get(key) ?? []), delivery.json<number>()])
        running.delete(key)
        all.count()
      },
    )
    for (let i = 0; i < 60; i++) {
      await mq.send({ topic: name, orderingKey: `k${i % 6}`, body: JSON.stringify(i) })
    }
    await all.reached
    t.deepEqual(overlaps, [])
    for (const own of order.values()) {
      t.deepEqual(
        own,
        own.toSorted((x, y) => x - y),
      )
    }
  })
}

export function sharing(client: MakeClient, topic: MakeTopic): void {
  test('two members share a group without overlap, and one takes over when the other leaves', async (t) => {
    const mq = await client(t)
    const name = await topic(mq, 8)
    const group = nameOf('g')
    const shares = assignments(mq, group, name)
    const seen: [string[], string[]] = [[], []]
    const every = latch(200)
    const more = latch(240)
    const member = (index: 0 | 1) =>
      mq.consume({ group, topic: name, from: 'first' }, (delivery) => {
        seen[index].push(delivery.text())
        every.count()
        more.count()
      })
    const first = await member(0)
    const second = await member(1)
    await shares.until((sizes) => sizes.length >= 3 && sizes.slice(-2).every((size) => size === 4))
    await sendMany(mq, name, 0, 200)
    await every.reached
    t.deepEqual([...seen[0], ...seen[1]].toSorted(), numbers(0, 200).toSorted())
    t.true(seen[0].length > 0 && seen[1].length > 0)
    await first.close()
    await shares.until((sizes) => sizes.at(-1) === 8)
    const before = seen[1].length
    await sendMany(mq, name, 200, 240)
    await more.reached
    t.is(seen[1].length, before + 40)
    await second.close()
  })

  test('in broadcasting every member gets everything', async (t) => {
    const mq = await client(t)
    const name = await topic(mq)
    const group = nameOf('g')
    const seen: [string[], string[]] = [[], []]
    const every = latch(100)
    for (const index of [0, 1] as const) {
      await mq.consume({ group, topic: name, broadcasting: true }, (delivery) => {
        seen[index].push(delivery.text())
        every.count()
      })
    }
    await sendMany(mq, name, 0, 50)
    await every.reached
    for (const own of seen) t.deepEqual(own.toSorted(), numbers(0, 50).toSorted())
  })
}

export function inOrder(client: MakeClient, topic: MakeTopic): void {
  test('in order: a failed message comes again in its place, before the ones behind it', async (t) => {
    const mq = await client(t)
    const name = await topic(mq, 2)
    const seen: string[] = []
    const all = latch(11)
    await mq.consume(
      { group: nameOf('g'), topic: name, ordered: true, concurrency: 4, from: 'first' },
      async (delivery) => {
        seen.push(`${delivery.text()}/${delivery.attempt}`)
        all.count()
        if (delivery.text() === '3' && delivery.attempt === 1) await delivery.nack({ delayMs: 50 })
      },
    )
    for (let i = 0; i < 10; i++) await mq.send({ topic: name, orderingKey: 'k', body: String(i) })
    await all.reached
    const due = numbers(0, 10).map((n) => `${n}/1`)
    due.splice(4, 0, '3/2')
    t.deepEqual(seen, due)
  })

  test('in order: a queue has one reader at a time, also while members come and go', async (t) => {
    const mq = await client(t)
    const name = await topic(mq, 4)
    const group = nameOf('g')
    const seen = new Map<string, number[]>()
    const running = new Set<string>()
    const overlaps: string[] = []
    const all = latch(200)
    const member = () =>
      mq.consume(
        { group, topic: name, ordered: true, concurrency: 4, from: 'first' },
        async (d) => {
          const queue = String(d.queueId)
          if (running.has(queue)) overlaps.push(queue)
          running.add(queue)
          await new Promise((resolve) => setTimeout(resolve, 2))
          running.delete(queue)
          const own = seen.get(queue) ?? []
          seen.set(queue, own)
          if (own.includes(d.queueOffset)) return
          own.push(d.queueOffset)
          all.count()
        },
      )
    const first = await member()
    const sends = Array.from({ length: 200 }, (_, i) =>
      mq.send({ topic: name, body: 'x', orderingKey: `k${i % 16}` }),
    )
    await Promise.all(sends)
    const second = await member()
    await first.close()
    await all.reached
    t.deepEqual(overlaps, [])
    for (const own of seen.values()) {
      t.deepEqual(
        own,
        own.toSorted((x, y) => x - y),
      )
    }
    await second.close()
  })
}

export function retrying(client: MakeClient, topic: MakeTopic): void {
  test('a handler that throws gets the message again, from the retry topic', async (t) => {
    const mq = await client(t)
    const name = await topic(mq)
    const attempts: string[] = []
    const twice = latch(2)
    await mq.consume({ group: nameOf('g'), topic: name, from: 'first' }, async (delivery) => {
      attempts.push(`${delivery.topic} ${delivery.text()} ${delivery.tag} ${delivery.attempt}`)
      twice.count()
      if (delivery.attempt === 1) await delivery.nack({ delayMs: 1000 })
    })
    const sent = await mq.send({ topic: name, body: 'again', tag: 'x', keys: ['k'] })
    await twice.reached
    t.deepEqual(attempts, [`${name} again x 1`, `${name} again x 2`])
    t.truthy(sent.messageId)
  })

  test('after the last attempt a message is in the dead-letter topic', async (t) => {
    const mq = await client(t)
    const name = await topic(mq)
    const group = nameOf('g')
    const failed = latch(1)
    await mq.consume({ group, topic: name, from: 'first', retriesMax: 0 }, () => {
      failed.count()
      throw new Error('never')
    })
    const sent = await mq.send({ topic: name, body: 'lost cause', keys: ['k1'] })
    await failed.reached
    await using reader = mq.read({ topic: `%DLQ%${group}`, from: 'first' })
    const { value } = await reader.next()
    t.is(value!.text(), 'lost cause')
    t.is(value!.topic, name)
    t.is(value!.messageId, sent.messageId)
    t.deepEqual(value!.keys, ['k1'])
  })
}
