import type { PublishReceipt } from '../../../src/model/message.ts'
import { RecordView } from '../../../src/model/record.ts'
import { CLAIM_HANDOVER_MS, type Claim, NO_STATE } from '../../../src/model/state.ts'
import type { Broker } from '../../../src/port/broker.ts'
import type { States } from '../../../src/port/states.ts'
import { codeOf, codesOf, newMessage, stateIds } from '../../support/broker.ts'
import type { Case } from '../broker.ts'
import { nameOf } from './names.ts'
import { newTopic, read, stored, watched } from './support.ts'

const load = async ({ states }: Broker, id: string): Promise<string | undefined> =>
  (await states.load(id))?.value.toString()

export function states(test: Case): void {
  test('the latest change of a state holds, however it was asked for', async (t, { port }) => {
    const id = nameOf('state')
    const value = Buffer.from('1')
    const changes = [
      port.states.save(id, value),
      port.states.saveSoon(id, Buffer.from('2')),
      port.states.delete(id),
      port.states.saveSoon(id, Buffer.from('3')),
      port.publish([], [{ id, state: Buffer.from('4') }]),
    ]
    value.fill(0)
    await Promise.all(changes)
    t.is(await load(port, id), '4')
    await port.states.delete(id)
    await port.states.delete(id)
    t.is(await load(port, id), undefined)
  })

  test('a change that expects another version changes nothing', async (t, { port }) => {
    const { states } = port
    const id = nameOf('state')
    const topic = await newTopic(port)
    const first = await states.save(id, Buffer.from('1'), { expected: NO_STATE })
    const conflict = async (call: Promise<unknown>) => t.is(await codeOf(call), 'STATE_CONFLICT')
    await conflict(states.save(id, Buffer.from('x'), { expected: NO_STATE }))
    const second = await states.save(id, Buffer.from('2'), { expected: first })
    t.true(second > first)
    await conflict(states.delete(id, { expected: first }))
    await conflict(port.publish([newMessage(topic)], [{ id, state: null, expected: first }]))
    t.is(Number((await port.topics.ranges(topic))[0]?.maxOffset), 0)
    t.deepEqual(await states.load(id), { value: Buffer.from('2'), version: second })
    await states.delete(id, { expected: second })
    await conflict(states.save(id, Buffer.from('x'), { expected: second }))
  })

  test('of changes that expect one version, one holds', async (t, { port }) => {
    const id = nameOf('state')
    const topic = await newTopic(port)
    const expected = await port.states.save(id, Buffer.from('old'))
    const change = { id, state: Buffer.from('with a message'), message: 0, expected }
    const calls = [
      port.publish([newMessage(topic)], [change]),
      ...['a', 'b'].map((text) => port.states.save(id, Buffer.from(text), { expected })),
    ]
    const codes = await Promise.all(calls.map(codeOf))
    t.deepEqual(codes.sort(), ['STATE_CONFLICT', 'STATE_CONFLICT', 'no error'])
    t.not(await load(port, id), 'old')
  })

  test('a message that is refused leaves its state, those beside it change theirs', async (t, {
    port,
  }) => {
    const topic = await newTopic(port)
    const ids = [nameOf('state'), nameOf('state'), nameOf('state')]
    for (const id of ids) await port.states.save(id, Buffer.from('old'))
    const results = await port.publish(
      [newMessage(topic), newMessage(topic, { queueId: 9 }), newMessage(topic)],
      ids.map((id, message) => ({ id, state: Buffer.from('new'), message })),
    )
    t.deepEqual(codesOf(results), [null, 'QUEUE_NOT_FOUND', null])
    t.deepEqual(await Promise.all(ids.map((id) => load(port, id))), ['new', 'old', 'new'])
  })

  test('a state that is a message is its record, as it is looked up', async (t, { port }) => {
    const topic = await newTopic(port)
    const id = nameOf('state')
    const message = newMessage(topic, { body: 'kept' })
    const [result] = await port.publish([message], [{ id, state: 'message', message: 0 }])
    const { brokerName, position } = stored(result)
    const record = await port.lookup.byPosition(brokerName, position)
    t.deepEqual((await port.states.load(id))?.value, record)
  })

  test('a state of no message is written though all messages are refused', async (t, { port }) => {
    const topic = await newTopic(port)
    const [own, all] = [nameOf('state'), nameOf('state')]
    const state = Buffer.from('new')
    await port.publish(
      [newMessage(topic, { queueId: 9 })],
      [
        { id: all, state },
        { id: own, state, message: 0 },
      ],
    )
    t.deepEqual([await load(port, all), await load(port, own)], ['new', undefined])
  })

  test('messages keep the order of their key behind those that wait for their state', async (t, {
    port,
  }) => {
    const topic = await newTopic(port)
    const id = nameOf('state')
    const calls = Array.from({ length: 30 }, (_, n) => {
      const message = newMessage(topic, { orderingKey: 'k', body: `${n}` })
      const changes = n % 3 === 0 ? [{ id, state: Buffer.from(`${n}`) }] : []
      const publishing = port.publish([message], changes)
      // Both are the caller's again.
      message.body.fill(0)
      for (const { state } of changes) state.fill(0)
      return publishing
    })
    const [{ brokerName, queueId }] = (await Promise.all(calls)).map(([result]) =>
      stored(result),
    ) as [PublishReceipt]
    const bodies = Array.from({ length: 30 }, (_, n) => `${n}`)
    t.deepEqual(await read(port, topic, 30, { brokerName, queueId }), bodies)
    t.is(await load(port, id), '27')
  })

  test('of the messages of one state the last call’s is kept', async (t, { port }) => {
    const topic = await newTopic(port)
    const id = nameOf('state')
    const calls = Array.from({ length: 20 }, (_, n) => {
      const message = newMessage(topic, { orderingKey: 'k', body: `${n}` })
      return port.publish([message], [{ id, state: 'message', message: 0 }])
    })
    await Promise.all(calls)
    const { value } = (await port.states.load(id))!
    t.is(Buffer.from(new RecordView(value).body).toString(), '19')
  })

  test('states and changes have limits and an order', async (t, { port }) => {
    const topic = await newTopic(port)
    const id = nameOf('state')
    const refused = async (call: Promise<unknown>) => t.is(await codeOf(call), 'ARGUMENT_INVALID')
    await refused(port.states.save('', Buffer.from('1')))
    await refused(port.states.save('x'.repeat(40_000), Buffer.from('1')))
    await refused(port.states.claim('x'.repeat(40_000), ignore))
    await refused(port.states.claimFree('', ignore))
    const own = (message: number) => ({ id, state: null, message })
    const two = [newMessage(topic), newMessage(topic)]
    await refused(port.publish(two, [own(1), own(0)]))
    await refused(port.publish(two, [own(0), { id, state: null }]))
    await refused(port.publish(two, [{ id, state: 'message' }]))
    t.is(Number((await port.topics.ranges(topic))[0]?.maxOffset), 0)
  })

  test('states are listed by the start of their id, with their values', async (t, { port }) => {
    const prefix = `${nameOf('list')}/`
    await port.states.save(`${prefix}b`, Buffer.from('1'))
    await port.states.saveSoon(`${prefix}a`, Buffer.from('1'))
    await port.states.save(`${nameOf('list')}/c`, Buffer.from('1'))
    await port.states.saveSoon(`${prefix}gone`, Buffer.from('1'))
    await port.states.delete(`${prefix}gone`)
    t.deepEqual(await stateIds(port, prefix), [`${prefix}a`, `${prefix}b`])
  })

  test('a listing that is read while states change has all that stay', async (t, { port }) => {
    const prefix = `${nameOf('list')}/`
    const value = Buffer.alloc(1024 * 1024)
    for (const id of ['stays', 'goes', 'changes']) await port.states.save(prefix + id, value)
    await port.states.saveSoon(`${prefix}soon`, value)
    const found = new Set<string>()
    for await (const page of port.states.list(prefix)) {
      for (const { id } of page) found.add(id.slice(prefix.length))
      await port.states.delete(`${prefix}goes`)
      await port.states.save(`${prefix}changes`, Buffer.from('2'))
      await port.states.save(`${prefix}soon`, Buffer.from('2'))
    }
    for (const id of ['changes', 'soon', 'stays']) t.true(found.has(id), id)
  })

  test('watchers are told of every change of their ids, the newest version last', async (t, {
    port,
  }) => {
    const prefix = `${nameOf('watch')}/`
    const topic = await newTopic(port)
    const newest = new Map<string, { text: string | undefined; version: number }>()
    let told = (): void => {}
    const watch = port.states.watch(prefix, ({ id, value, version }) => {
      t.true(version >= (newest.get(id)?.version ?? 0))
      newest.set(id, { text: value?.toString(), version })
      told()
    })
    const all = new Promise<void>((resolve) => {
      told = () => {
        const isEnd = newest.get(`${prefix}1`)?.text === undefined && newest.size === 4
        if (isEnd) resolve()
      }
    })
    await port.states.save(`${prefix}1`, Buffer.from('saved'))
    await port.states.save(nameOf('other'), Buffer.from('not watched'))
    await port.states.saveSoon(`${prefix}2`, Buffer.from('soon'))
    await port.states.delete(`${prefix}1`)
    const state = Buffer.from('new')
    await port.publish(
      [newMessage(topic)],
      [
        { id: `${prefix}4`, state },
        { id: `${prefix}3`, state, message: 0 },
      ],
    )
    await all
    watch[Symbol.dispose]()
    await port.states.delete(`${prefix}2`)
    await port.states.load(`${prefix}2`)
    t.deepEqual(
      [1, 2, 3, 4].map((n) => newest.get(prefix + n)?.text),
      [undefined, 'soon', 'new', 'new'],
    )
  })
}

const ignore = (): void => {}

/** An owner that has been told when `lost` settles. */
async function owner(states: States, id: string): Promise<{ claim: Claim; lost: Promise<void> }> {
  let tell = ignore
  const lost = new Promise<void>((resolve) => {
    tell = resolve
  })
  return { claim: await states.claim(id, tell), lost }
}

export function claims(test: Case): void {
  test('a new owner waits until the one before has saved and released', async (t, {
    port,
    pass,
  }) => {
    const { states } = port
    const id = nameOf('claim')
    const first = await owner(states, id)
    const claiming = states.claim(id, ignore)
    const state = watched(claiming)
    await first.lost
    await pass(100)
    t.false(state.isSettled)
    await states.saveSoon(id, Buffer.from('last words'), first.claim)
    await states.release(first.claim)
    t.true((await claiming).number > first.claim.number)
    t.is(await load(port, id), 'last words')
  })

  test('an owner that does not release loses the id in time, and changes nothing from then on', async (t, {
    port,
    pass,
  }) => {
    const { states } = port
    const topic = await newTopic(port)
    const id = nameOf('claim')
    const { claim } = await owner(states, id)
    const claiming = states.claim(id, ignore)
    await pass(CLAIM_HANDOVER_MS)
    const newer = await claiming
    await states.save(id, Buffer.from('new'), { claim: newer })
    const late = Buffer.from('late')
    const calls = [
      states.save(id, late, { claim }),
      states.saveSoon(id, late, claim),
      states.delete(id, { claim }),
      port.publish([newMessage(topic)], [{ id, state: null, claim }]),
      states.save(nameOf('another'), late, { claim: newer }),
    ]
    for (const call of calls) t.is(await codeOf(call), 'CLAIM_LOST')
    await states.release(claim)
    t.is(await load(port, id), 'new')
    await states.delete(id, { claim: newer })
  })

  test('of those that wait for an id the last one gets it', async (t, { port }) => {
    const { states } = port
    const id = nameOf('claim')
    const first = await owner(states, id)
    const passed = states.claim(id, ignore)
    const last = states.claim(id, ignore)
    t.is(await codeOf(passed), 'CLAIM_LOST')
    await states.release(first.claim)
    await states.save(id, Buffer.from('1'), { claim: await last })
  })

  test('an id that has an owner is not free, one that was released is', async (t, { port }) => {
    const { states } = port
    const id = nameOf('claim')
    const { claim } = await owner(states, id)
    t.is(await states.claimFree(id, ignore), undefined)
    await states.save(id, Buffer.from('1'), { claim })
    await states.release(claim)
    const free = await states.claimFree(id, ignore)
    t.true(free!.number > claim.number)
    await states.save(id, Buffer.from('2'), { claim: free })
  })

  test('an owner that released is not told', async (t, { port, pass }) => {
    const { states } = port
    const id = nameOf('claim')
    const { claim, lost } = await owner(states, id)
    const state = watched(lost)
    await states.release(claim)
    await states.claim(id, ignore)
    await pass(100)
    t.false(state.isSettled)
  })

  test('a state whose owner has gone is told to those that watch for it', async (t, { port }) => {
    const { states } = port
    const prefix = `${nameOf('free')}/`
    const told: string[] = []
    const all = new Promise<void>((resolve) => {
      const watch = states.watchFree(prefix, (id) => {
        told.push(id)
        if (id !== `${prefix}last`) return
        watch[Symbol.dispose]()
        resolve()
      })
    })
    const own = async (name: string): Promise<Claim> => {
      const { claim } = await owner(states, prefix + name)
      await states.save(prefix + name, Buffer.from('1'), { claim })
      return claim
    }
    const handedOver = await own('handed over')
    const next = states.claim(handedOver.id, ignore)
    await states.release(handedOver)
    await next
    const deleted = await own('deleted')
    await states.delete(deleted.id, { claim: deleted })
    await states.release(deleted)
    await own('kept')
    await states.release(await own('released'))
    t.true((await states.claimFree(`${prefix}released`, ignore)) !== undefined)
    const last = await own('last')
    await states.release(last)
    await all
    const others = told.filter((id) => id !== `${prefix}released` && id !== last.id)
    t.deepEqual(others, [])
  })

  test('of many that claim an id in turn, each is owner alone', async (t, { port }) => {
    const { states } = port
    const id = nameOf('claim')
    let owners = 0
    const live = async (): Promise<void> => {
      let lost = ignore
      const told = new Promise<void>((resolve) => {
        lost = resolve
      })
      const claim = await states.claim(id, lost).catch(() => undefined)
      if (claim === undefined) return
      t.is(++owners, 1)
      await told
      await states.save(id, Buffer.from(`${claim.number}`), { claim })
      owners--
      await states.release(claim)
    }
    const lives = Array.from({ length: 20 }, live)
    const last = await states.claim(id, ignore)
    await Promise.all(lives)
    t.true(Number((await load(port, id)) ?? 0) < last.number)
  })
}
