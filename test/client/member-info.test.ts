// What mqadmin and the dashboard are told of a member that is the SDK's.
import test from 'ava'
import { connect } from '../../src/client/index.ts'
import { systemClock } from '../../src/clock.ts'
import { REQUEST } from '../../src/remoting/codes.ts'
import { dial } from '../../src/remoting/connection.ts'
import type { Json } from '../../src/remoting/json/json.ts'
import {
  asObject,
  listAt,
  numberAt,
  objectAt,
  parseObject,
} from '../../src/remoting/json/json-members.ts'
import { fields } from '../support/native/native-front-end.ts'
import { startServer } from '../support/server.ts'
import { latch } from '../support/waiting.ts'

test('a tool is told what a member subscribes to, reads, holds and has settled', async (t) => {
  const server = await startServer(t)
  const mq = await connect({ nameServers: server.address('nameServer') })
  t.teardown(() => mq.close({ deadlineMs: 0 }))
  await mq.admin.topics.create({ name: 'orders', queues: 1 })
  await mq.sendBatch(['a', 'b', 'c'].map((body) => ({ topic: 'orders', body })))
  const [second, go] = [latch(2), latch(1)]
  await mq.consume({ group: 'billing', topic: 'orders', from: 'first' }, async (delivery) => {
    second.count()
    if (delivery.text() !== 'a') await go.reached
  })
  await second.reached
  const [member] = (await mq.admin.groups.describe('billing')).members
  const port = server.port('remoting')
  const tool = await dial({ host: '127.0.0.1', port, clock: systemClock })
  t.teardown(() => tool.close())
  const asked = { consumerGroup: 'billing', clientId: member!.clientId }
  const running = await tool.request(REQUEST.getConsumerRunningInfo, { fields: fields(asked) })
  t.is(running.code, 0)
  const info = parseObject(running.body)
  const queues = [...objectAt(info, 'mqTable')].map(([queue, held]) => [
    numberAt(asObject(queue as Json), 'queueId'),
    numberAt(asObject(held), 'commitOffset'),
    numberAt(asObject(held), 'cachedMsgCount'),
  ])
  t.true(queues.some((queue) => String(queue) === '0,1,2'))
  t.is(listAt(info, 'subscriptionSet').length, 2)
  const of = { topic: 'orders', group: 'billing' }
  const status = await tool.request(REQUEST.getConsumerOffsets, { fields: fields(of) })
  const table = objectAt(parseObject(status.body), 'consumerTable')
  t.deepEqual([...table.keys()], [member!.clientId])
  t.deepEqual([...objectAt(table, member!.clientId).values()].map(Number), [1])
  go.count()
})
