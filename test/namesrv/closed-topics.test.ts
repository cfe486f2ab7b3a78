import test from 'ava'
import type { TopicDefinition } from '../../src/model/topic.ts'
import { ClosedTopics } from '../../src/namesrv/closed-topics.ts'

const topic = (name: string, perm = 6): TopicDefinition => ({
  ...{ name, readQueues: 4, writeQueues: 4, perm, ordered: false, sysFlag: 0 },
})

test('a closed topic lacks the permission to write, whatever else its broker gives it', (t) => {
  const closed = new ClosedTopics(10)
  closed.close('broker-a', [topic('A', 7)])
  t.is(closed.asClosed('broker-a', topic('A', 7)).perm, 5)
  t.is(closed.asClosed('broker-a', topic('B')).perm, 6)
  t.is(closed.asClosed('broker-b', topic('A', 7)).perm, 7)
})

test('of more topics than there is room for, the brokers that were closed first are forgotten', (t) => {
  const closed = new ClosedTopics(2)
  closed.close('broker-a', [topic('A')])
  closed.close('broker-b', [topic('A')])
  closed.close('broker-a', [topic('A')])
  closed.close('broker-c', [topic('A')])
  const perms = ['a', 'b', 'c'].map((one) => closed.asClosed(`broker-${one}`, topic('A')).perm)
  t.deepEqual(perms, [4, 6, 4])
})
