import test from 'ava'
import { withRetries } from '../../src/client/calls/attempts.ts'
import { BackOff } from '../../src/client/calls/back-off.ts'
import { Mailbox } from '../../src/client/calls/mailbox.ts'
import { encodeMessage } from '../../src/client/calls/outgoing.ts'
import { StatusFeed } from '../../src/client/calls/status.ts'
import { sleep } from '../../src/clock.ts'
import { BrokerError } from '../../src/errors.ts'
import { decodeProperties } from '../../src/model/properties.ts'
import { FakeClock } from '../support/fake-clock.ts'

test('pauses double up to the longest, and start over after a success', (t) => {
  const backOff = new BackOff(100, 1000, () => 1)
  const pauses = Array.from({ length: 6 }, () => backOff.nextMs())
  t.deepEqual(pauses, [100, 200, 400, 800, 1000, 1000])
  backOff.reset()
  t.is(backOff.nextMs(), 100)
})

test('a pause is between half of its step and all of it', (t) => {
  t.is(new BackOff(100, 1000, () => 0).nextMs(), 50)
  t.is(new BackOff(100, 1000, () => 0.5).nextMs(), 75)
})

test('a thousand failures later the pause is still the longest', (t) => {
  const backOff = new BackOff(100, 1000, () => 1)
  for (let i = 0; i < 1000; i++) backOff.nextMs()
  t.is(backOff.nextMs(), 1000)
})

test('no attempt is made with hardly any time left: its error would hide why those before it failed', async (t) => {
  const clock = new FakeClock()
  const lefts: number[] = []
  let isOver = false
  const trying = withRetries({ clock, timeoutMs: 60 }, async (leftMs) => {
    lefts.push(leftMs())
    throw new BrokerError('BUSY', 'no room')
  }).finally(() => {
    isOver = true
  })
  const refused = t.throwsAsync(trying, { code: 'BUSY' })
  while (!isOver) await clock.advanceAsync(1)
  await refused
  t.deepEqual(lefts, [60])
})

for (const { title, firstTakesMs, code } of [
  { title: 'soon after it began leaves the error before it', firstTakesMs: 900, code: 'BUSY' },
  { title: 'after a good while has an error of its own', firstTakesMs: 100, code: 'TIMED_OUT' },
] as const) {
  test(`an attempt that the end of the time cuts off ${title}`, async (t) => {
    const clock = new FakeClock()
    let isFirst = true
    let isOver = false
    const trying = withRetries({ clock, timeoutMs: 1000 }, async (leftMs) => {
      await sleep(clock, isFirst ? firstTakesMs : leftMs())
      if (!isFirst) throw new BrokerError('TIMED_OUT', 'no answer')
      isFirst = false
      throw new BrokerError('BUSY', 'no room')
    }).finally(() => {
      isOver = true
    })
    const refused = t.throwsAsync(trying, { code })
    while (!isOver) await clock.advanceAsync(1)
    await refused
    t.false(isFirst)
  })
}

test('items come out in the order they went in, to the caller that waits first', async (t) => {
  const box = new Mailbox<number>()
  const first = box.next()
  const second = box.next()
  box.push(1)
  box.push(2)
  box.push(3)
  t.deepEqual(await Promise.all([first, second, box.next()]), [1, 2, 3])
})

test('what was pushed before the end is still handed out', async (t) => {
  const box = new Mailbox<number>()
  box.push(1)
  box.end()
  box.push(2)
  t.is(await box.next(), 1)
  t.is(await box.next(), undefined)
})

test('an error at the end reaches callers that wait and later ones', async (t) => {
  const box = new Mailbox<number>()
  const waiting = box.next()
  box.end(new Error('gone'))
  await t.throwsAsync(waiting, { message: 'gone' })
  await t.throwsAsync(box.next(), { message: 'gone' })
})

test('a caller that gives up waiting loses no item', async (t) => {
  const box = new Mailbox<number>()
  const given = new AbortController()
  const waiting = box.next(given.signal)
  given.abort(new Error('enough'))
  await t.throwsAsync(waiting, { message: 'enough' })
  box.push(1)
  t.is(await box.next(), 1)
  await t.throwsAsync(box.next(AbortSignal.abort(new Error('at once'))), { message: 'at once' })
})

const propertiesOf = (message: Parameters<typeof encodeMessage>[0]) =>
  Object.fromEntries(decodeProperties(encodeMessage(message, 'ID').properties))

test("tag, keys, ordering key and properties get RocketMQ's names", (t) => {
  t.deepEqual(
    propertiesOf({
      topic: 'T',
      body: 'x',
      tag: 'paid',
      keys: ['a', 'b'],
      orderingKey: 'o',
      properties: { user: 'ä' },
    }),
    { TAGS: 'paid', KEYS: 'a b', __SHARDINGKEY: 'o', user: 'ä', UNIQ_KEY: 'ID', WAIT: 'true' },
  )
})

test('a delay that is a level is sent as the level, any other in milliseconds', (t) => {
  t.is(propertiesOf({ topic: 'T', body: 'x', delayMs: 10_000 })['DELAY'], '3')
  t.is(propertiesOf({ topic: 'T', body: 'x', delayMs: 1234.5 })['TIMER_DELAY_MS'], '1235')
  for (const delayMs of [0, -1]) {
    t.deepEqual(propertiesOf({ topic: 'T', body: 'x', delayMs }), { UNIQ_KEY: 'ID', WAIT: 'true' })
  }
})

test('a string is sent as UTF-8, bytes as they are', (t) => {
  t.is(encodeMessage({ topic: 'T', body: 'é' }, 'ID').body.length, 2)
  const bytes = new Uint8Array([0, 255])
  t.is(encodeMessage({ topic: 'T', body: bytes }, 'ID').body, bytes)
})

test('properties may be those of a message that was received', (t) => {
  const received: ReadonlyMap<string, string> = new Map([['a', '1']])
  t.is(propertiesOf({ topic: 'T', body: 'x', properties: received })['a'], '1')
})

const refused: readonly [string, object, string, RegExp][] = [
  ['an illegal topic', { topic: 'a b' }, 'NAME_INVALID', /'a b'|"a b"/],
  ['a body over 4 MiB', { body: 'x'.repeat(4_194_305) }, 'MESSAGE_TOO_LARGE', /4194305.*4194304/],
  ['a body of another type', { body: 5 }, 'MESSAGE_INVALID', /Uint8Array/],
  ['a tag with |', { tag: 'a||b' }, 'MESSAGE_INVALID', /a\|\|b/],
  ['a key with a blank', { keys: ['a b'] }, 'MESSAGE_INVALID', /"a b"/],
  ['an empty ordering key', { orderingKey: '' }, 'MESSAGE_INVALID', /ordering key/],
  ['a reserved name', { properties: { TAGS: 'x' } }, 'MESSAGE_INVALID', /'TAGS' is reserved/],
  ['a separator', { properties: { a: 'x\u0001' } }, 'MESSAGE_INVALID', /U\+0001/],
  ['a part of a ms to live', { ttlMs: 1.5 }, 'MESSAGE_INVALID', /'ttlMs' is 1\.5/],
  ['a priority below 0', { priority: -1 }, 'MESSAGE_INVALID', /'priority' is -1/],
  ['a part of a priority', { priority: 1.5 }, 'MESSAGE_INVALID', /'priority' is 1\.5/],
  [
    'a priority and a delay',
    { priority: 1, delayMs: 1000 },
    'MESSAGE_INVALID',
    /leave 'orderingKey' and 'delayMs' out/,
  ],
  ['a delay that is no number', { delayMs: Number.NaN }, 'MESSAGE_INVALID', /'delayMs' is NaN/],
  ['an endless delay', { delayMs: Number.POSITIVE_INFINITY }, 'MESSAGE_INVALID', /is Infinity/],
  ['a property that is no string', { properties: { a: 1 } }, 'MESSAGE_INVALID', /'a'/],
  ['too many properties', { properties: { a: 'x'.repeat(32_768) } }, 'MESSAGE_TOO_LARGE', /32767/],
]

for (const [what, change, code, message] of refused) {
  test(`${what} is refused before anything is sent`, (t) => {
    const bad = { topic: 'T', body: 'x', ...change } as Parameters<typeof encodeMessage>[0]
    t.throws(() => encodeMessage(bad, 'ID'), { code, message })
  })
}

const connected = (address: string) => ({ type: 'connected', address }) as const

test('every listener gets what happens from when it began, and an end', async (t) => {
  const feed = new StatusFeed()
  feed.emit(connected('early'))
  const listener = feed.listen()
  feed.emit(connected('a'))
  feed.close()
  const seen: string[] = []
  for await (const status of listener) seen.push(status.type)
  t.deepEqual(seen, ['connected', 'closed'])
})

test('a listener that does not keep up loses the oldest', async (t) => {
  const feed = new StatusFeed()
  const listener = feed.listen()
  for (let i = 0; i < 1000; i++) feed.emit(connected(String(i)))
  const { value } = await listener.next()
  t.deepEqual(value, connected(String(1000 - 256)))
})

test('a loop that is left listens no more', async (t) => {
  const feed = new StatusFeed()
  feed.emit(connected('x'))
  const listener = feed.listen()
  feed.emit(connected('a'))
  for await (const _ of listener) break
  feed.emit(connected('b'))
  t.deepEqual(await listener.next(), { done: true, value: undefined })
})

test('listening to a closed client ends at once', async (t) => {
  const feed = new StatusFeed()
  feed.close()
  t.deepEqual(await feed.listen().next(), { done: true, value: undefined })
})
