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
  const ended: string[] = []
  const clean = async (clientId: string): Promise<void> => void ended.push(clientId)
  await kept.sweep(isHere, clean)
  t.deepEqual(ended, [])
  await host.clock.advanceAsync(1)
  await kept.sweep(isHere, clean)
  t.deepEqual(ended, ['away'])
  t.deepEqual([...kept.clientIds], ['here'])
})

test('a session that comes back while another one is ended stays', async (t) => {
  const host = await startBroker(t)
  const kept = await keptAt(t, host)
  await kept.keep('away', undefined)
  await kept.keep('back', undefined)
  await host.clock.advanceAsync(1000)
  const here = new Set<string>()
  await kept.sweep(
    (clientId) => here.has(clientId),
    async () => void here.add('back'),
  )
  t.deepEqual([...kept.clientIds], ['back'])
})

test('a client that comes while its session is ended waits for that', async (t) => {
  const host = await startBroker(t)
  const kept = await keptAt(t, host)
  await kept.keep('meter', undefined)
  await host.clock.advanceAsync(1000)
  const steps: string[] = []
  await kept.sweep(
    () => false,
    async () => {
      void kept.ended('meter').then(() => steps.push('connected'))
      await Promise.resolve()
      steps.push('cleaned')
    },
  )
  await kept.ended('meter')
  t.deepEqual(steps, ['cleaned', 'connected'])
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
