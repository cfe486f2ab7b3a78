// A queue that goes from one native member of a mixed group to another.
import test from 'ava'
import {
  device,
  Native,
  pass,
  receive,
  send,
  settle,
  start,
} from '../../support/native/group-natives.ts'
import type { Teardown } from '../../support/temp-dir.ts'

/** A native with the queues 2 and 3 of four, and another one that believes that 3 is its own. */
async function taken(t: Teardown) {
  const test = await start(t)
  await device(test)
  await receive(test)
  const a = await new Native(test, 'a').join()
  await settle(test, a)
  await send(test, 4, 3)
  const b = await new Native(test, 'b').join()
  await b.rebalance()
  return { test, a, b }
}

test('a native gets a queue when the one that had it lets go of it, from where that had got to', async (t) => {
  const { test, a, b } = await taken(t)
  t.deepEqual([a.queues, b.queues], [[2, 3], [3]])
  t.is((await a.pull()).length, 6)
  for (let i = 0; i < 8; i++) {
    await pass(test, 500)
    await a.pull()
    t.deepEqual(await b.pull(), [])
  }
  await a.rebalance()
  t.deepEqual(a.queues, [2])
  for (let i = 0; i < 8; i++) {
    await pass(test, 500)
    t.deepEqual(await b.pull(), [])
  }
  await send(test, 4, 1, 3)
  t.deepEqual(await b.pull(), ['3/3'])
})

test('a native that goes on with a queue keeps it for ten seconds from another one', async (t) => {
  const { test, a, b } = await taken(t)
  const got: string[] = []
  for (let i = 0; i < 24 && got.length === 0; i++) {
    await a.pull()
    await pass(test, 500)
    got.push(...(await b.pull()))
  }
  t.deepEqual(got, ['3/0', '3/1', '3/2'])
})
