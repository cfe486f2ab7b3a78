// Whose a session of aedes is, and until when.
import test, { type ExecutionContext } from 'ava'
import { UserStore } from '../../../src/access/user-store.ts'
import { KeptSessions } from '../../../src/gateway/aedes/kept-sessions.ts'
import { startBroker, type TestBroker } from '../../support/broker.ts'

async function keptAt(t: ExecutionContext, { broker, clock }: TestBroker): Promise<KeptSessions> {
  const kept = new KeptSessions({
    ...{ auth: new UserStore({}, clock), clock, states: broker.states },
    ...{ sessionsMax: 10, sessionExpiryMs: 1000 },
  })
  t.teardown(() => kept.close())
  await kept.open()
  return kept
}

test('a session ends when its client has been away for its time, and not while it is here', async (t) => {
  const host = await startBroker(t)
  const kept = await keptAt(t, host)
  await kept.keep('here', undefined)
  await kept.keep('away', undefined)
  const isHere = (clientId: string): boolean => clientId === 'here'
  await host.clock.advanceAsync(999)
  t.deepEqual(await kept.sweep(isHere), [])
  await host.clock.advanceAsync(1)
  t.deepEqual(await kept.sweep(isHere), ['away'])
  t.deepEqual(await kept.sweep(() => false), ['away'])
})

test('another gateway, or the same one after a restart, knows whose it is', async (t) => {
  const host = await startBroker(t)
  const kept = await keptAt(t, host)
  await kept.keep('meter', 'clerk')
  await kept.keep('gone', 'clerk')
  await kept.drop('gone')
  const other = await keptAt(t, host)
  t.is(other.find('meter')?.user, 'clerk')
  t.is(other.find('gone'), undefined)
})
