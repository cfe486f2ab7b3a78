import test from 'ava'
import { Sessions } from '../../src/aedes/sessions.ts'
import { systemClock } from '../../src/clock.ts'
import { BrokerError } from '../../src/errors.ts'
import type { States } from '../../src/port/states.ts'

const STATE = {
  value: Buffer.from('{"subscriptions":[],"places":{},"unacknowledged":[]}'),
  version: 1,
}

/** Answers the ids that are claimed and not released. */
function sessionsOver(states: object): { readonly sessions: Sessions; readonly held: unknown[] } {
  const held: unknown[] = []
  const claims = {
    claim: async (id: string) => {
      held.push(id)
      return id
    },
    release: async (claim: unknown) => void held.splice(held.indexOf(claim), 1),
  }
  const all = { ...claims, ...states } as unknown as States
  return {
    sessions: new Sessions({ states: all, clock: systemClock, troubled: () => {}, sessionsMax: 2 }),
    held,
  }
}

const failing = async (): Promise<never> => {
  throw new BrokerError('UNREACHABLE', 'the state is not there in time')
}

test('a session that cannot be loaded is claimed no longer', async (t) => {
  const { sessions, held } = sessionsOver({ load: failing })
  await t.throwsAsync(sessions.get('sensor'), { code: 'UNREACHABLE' })
  t.deepEqual(held, [])
})

test('a session that cannot be deleted is claimed no longer', async (t) => {
  const { sessions, held } = sessionsOver({ load: async () => STATE, delete: failing })
  await t.throwsAsync(sessions.delete('sensor'), { code: 'UNREACHABLE' })
  t.deepEqual(held, [])
})

test('a session that is unreadable stops no start, and hides no other', async (t) => {
  const subscriptions = [{ clientId: 'b', topic: 'rooms/+', qos: 1, from: {} }]
  const readable = Buffer.from(JSON.stringify({ subscriptions, places: {}, unacknowledged: [] }))
  const { sessions } = sessionsOver({
    watch: () => ({ [Symbol.dispose]: () => {} }),
    list: async function* () {
      yield [
        { id: 'aedes/session/a', value: Buffer.from('{"subscriptions":'), version: 1 },
        { id: 'aedes/session/b', value: readable, version: 2 },
      ]
    },
  })
  await sessions.open()
  t.is(sessions.subscriptions.of('a').length, 0)
  t.is(sessions.subscriptions.of('b').length, 1)
})

test('a client that would have one session too many may not subscribe, the others may', async (t) => {
  const { sessions } = sessionsOver({})
  const subscription = { topic: 'rooms/+', qos: 1 }
  for (const clientId of ['a', 'b']) {
    sessions.checkQuota(clientId)
    sessions.subscriptions.set(clientId, [subscription])
  }
  t.throws(() => sessions.checkQuota('c'), { code: 'QUOTA_EXCEEDED' })
  t.notThrows(() => sessions.checkQuota('a'))
  sessions.subscriptions.set('a', [])
  t.notThrows(() => sessions.checkQuota('c'))
})
