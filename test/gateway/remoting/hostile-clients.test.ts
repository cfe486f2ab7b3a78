// Native clients that hold on to what is the broker's: each is answered, and costs a bounded amount
// of memory. interop-tests/remoting/bad-input.test.ts asks Apache's broker the same.
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import test from 'ava'
import { pull, send, startFrontEnd } from '../../support/native/native-front-end.ts'
import { PopClient } from '../../support/native/pop-client.ts'
import { eventually } from '../../support/waiting.ts'

const HELD = 10_000
const CONNECTIONS = 10
const GROUPS = 100
/** Of both ends, for they are in this process. */
const BYTES_EACH_MAX = 8 * 1024

test('10,000 pulls and 10,000 POPs that wait on one queue cost a bounded amount of memory', async (t) => {
  const { connect, clock } = await startFrontEnd(t)
  const writer = await connect()
  await send(writer, { topic: 'T', e: 0 })
  const readers = await Promise.all(Array.from({ length: CONNECTIONS }, () => connect()))
  const client = (i: number): PopClient =>
    new PopClient(readers[i % CONNECTIONS]!, 'T', `G${i % GROUPS}`)
  const times = { pollTime: 60_000, bornTime: clock.now(), invisibleTime: 600_000 }
  const popping = { queueId: 0, ...times }
  // They take the first message, which they do not acknowledge.
  for (let i = 0; i < GROUPS; i++) t.is((await client(i).take(popping)).length, 1)
  setFlagsFromString('--expose-gc')
  const gc = runInNewContext('gc') as () => void
  gc()
  const before = process.memoryUsage().heapUsed
  let answered = 0
  const counted = <T>(answer: Promise<T>): Promise<T> => answer.finally(() => answered++)
  const pulls = Array.from({ length: HELD }, (_, i) => {
    const at = { topic: 'T', group: `G${i % GROUPS}`, offset: 1, sysFlag: 6, suspendMs: 30_000 }
    return counted(pull(readers[i % CONNECTIONS]!, at))
  })
  const pops = Array.from({ length: HELD }, (_, i) => counted(client(i).pop(popping)))
  const held = async (): Promise<number> =>
    Number((await client(GROUPS - 1).polling(0)).fields.get('pollingNum'))
  while ((await held()) < HELD / GROUPS) await new Promise((resolve) => setImmediate(resolve))
  gc()
  const each = (process.memoryUsage().heapUsed - before) / (2 * HELD)
  t.true(each < BYTES_EACH_MAX, `${each} bytes each`)
  t.is(answered, 0)
  // One message is for all that pull, and in each group for one that pops.
  t.is((await send(writer, { topic: 'T', e: 0 })).code, 0)
  for (const { code, remark } of await Promise.all(pulls)) t.is(code, 0, remark)
  while (answered < HELD + GROUPS) await new Promise((resolve) => setImmediate(resolve))
  await clock.advanceAsync(60_000)
  const codes = (await Promise.all(pops)).map(({ code }) => code)
  t.is(codes.filter((code) => code === 210).length, HELD - GROUPS)
  t.is(await held(), 0)
})

test('a consumer that never acknowledges is handed out no more than its group may have', async (t) => {
  const { connect, clock, broker } = await startFrontEnd(t, { broker: { inFlightMax: 100 } })
  await broker.topics.ensure('T')
  const connection = await connect()
  for (let n = 0; n < 150; n++) await send(connection, { topic: 'T', e: 0 })
  const client = new PopClient(connection, 'T', 'G')
  const taken: string[] = []
  for (;;) {
    const some = await client.take()
    if (some.length === 0) break
    taken.push(...some.map(({ handle }) => handle))
  }
  t.is(taken.length, 100)
  t.is((await client.pop()).code, 210)
  // Others do not wait for it.
  t.is((await new PopClient(connection, 'T', 'Other').take()).length, 32)
  // What its time is over for comes again; what is settled makes room.
  for (const handle of taken.splice(0, 60)) await client.ack(handle)
  const more = [...(await client.take()), ...(await client.take()), ...(await client.take())]
  t.is(more.length, 50)
  await clock.advanceAsync(10_000)
  const again = await eventually(async () => {
    taken.push(...(await client.take()).map(({ handle }) => handle))
    return taken.length >= 40 + 90 && taken
  })
  t.is(new Set(again).size, again.length)
})
