import test from 'ava'
import { encodeMessage } from '../../src/client/calls/outgoing.ts'
import { decodeProperties } from '../../src/model/properties.ts'

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
