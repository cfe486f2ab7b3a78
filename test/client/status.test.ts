import test from 'ava'
import { StatusFeed } from '../../src/client/calls/status.ts'

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
