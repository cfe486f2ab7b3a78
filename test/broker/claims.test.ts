import test from 'ava'
import { CLAIM_HANDOVER_MS, type Claim } from '../../src/model/state.ts'
import type { States } from '../../src/port/states.ts'
import { codeOf, isPending, newMessage, startBroker } from '../support/broker.ts'

const ignore = (): void => {}

/** An owner that has been told when `lost` settles. */
async function owner(states: States): Promise<{ claim: Claim; lost: Promise<void> }> {
  let tell = ignore
  const lost = new Promise<void>((resolve) => {
    tell = resolve
  })
  return { claim: await states.claim('c', tell), lost }
}

test('a new owner waits until the one before has saved and released', async (t) => {
  const test = await startBroker(t)
  const { states } = test.broker
  const first = await owner(states)
  const claiming = states.claim('c', ignore)
  await first.lost
  t.true(await isPending(test, claiming))
  await states.saveSoon('c', Buffer.from('last words'), first.claim)
  await states.release(first.claim)
  t.true((await claiming).number > first.claim.number)
  t.is((await states.load('c'))?.value.toString(), 'last words')
})

test('an owner that does not release loses the id in time, and changes nothing from then on', async (t) => {
  const { broker, clock } = await startBroker(t)
  const { states } = broker
  const { claim } = await owner(states)
  const claiming = states.claim('c', ignore)
  clock.advance(CLAIM_HANDOVER_MS)
  const newer = await claiming
  await states.save('c', Buffer.from('new'), { claim: newer })
  const late = [
    states.save('c', Buffer.from('late'), { claim }),
    states.saveSoon('c', Buffer.from('late'), claim),
    states.delete('c', { claim }),
    broker.publish([newMessage('T')], [{ id: 'c', state: null, claim }]),
    states.save('other', Buffer.from('of another id'), { claim: newer }),
  ]
  for (const change of late) t.is(await codeOf(change), 'CLAIM_LOST')
  await states.release(claim)
  await states.delete('c', { claim: newer })
})

test('of those that wait for an id the last one gets it', async (t) => {
  const { states } = (await startBroker(t)).broker
  const first = await owner(states)
  const passed = states.claim('c', ignore)
  const last = states.claim('c', ignore)
  t.is(await codeOf(passed), 'CLAIM_LOST')
  await states.release(first.claim)
  await states.save('c', Buffer.from('1'), { claim: await last })
})

test('a claim that is given up leaves the id to the next', async (t) => {
  const { states } = (await startBroker(t)).broker
  const first = await owner(states)
  const givenUp = new AbortController()
  const claiming = states.claim('c', ignore, givenUp.signal)
  await first.lost
  givenUp.abort()
  t.is(await codeOf(claiming), 'ABORTED')
  t.is(await codeOf(states.claim('c', ignore, givenUp.signal)), 'ABORTED')
  await states.release(first.claim)
  await states.claim('c', ignore)
})

test('an owner that released is not told', async (t) => {
  const test = await startBroker(t)
  const { states } = test.broker
  const { claim, lost } = await owner(states)
  const claiming = states.claim('c', ignore)
  await states.release(claim)
  await claiming
  t.true(await isPending(test, lost))
})

test('claims that wait end with the broker', async (t) => {
  const { broker } = await startBroker(t)
  await owner(broker.states)
  const claiming = broker.states.claim('c', ignore)
  await broker.close()
  t.is(await codeOf(claiming), 'CLOSED')
  t.is(await codeOf(broker.states.claim('c', ignore)), 'CLOSED')
})
