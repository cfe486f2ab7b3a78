// Which sessions need not be saved before their client is answered.
import test from 'ava'
import {
  type Session as Kept,
  NEVER,
  Session,
} from '../../../../src/gateway/mqtt/session/session.ts'

type Terms = Parameters<Kept['isSavedAs']>[0]

const HOUR_MS = 3_600_000
const will = { topic: 'w', delayMs: 0 } as NonNullable<Kept['will']>
const same: Terms = { user: 'ann', expiryMs: HOUR_MS, will: undefined }

/** Of a client that went at 0. */
function session(shape: Partial<Kept> = {}): Session {
  return Object.assign(new Session('c'), { ...same, disconnectedMs: 0, ...shape })
}

test('a session that its client left half its time ago is saved as it is', (t) => {
  t.true(session().isSavedAs(same, HOUR_MS / 2 - 1))
  t.false(session().isSavedAs(same, HOUR_MS / 2))
  const lasting = { ...same, expiryMs: NEVER }
  t.true(session(lasting).isSavedAs(lasting, 1_000 * HOUR_MS))
})

test('a clock that was set back does not tell how long it is', (t) => {
  t.false(session().isSavedAs(same, -1))
})

test('another user, another expiry or a will is to be saved', (t) => {
  t.false(session().isSavedAs({ ...same, user: 'bob' }, 1))
  t.false(session().isSavedAs({ ...same, expiryMs: 2 * HOUR_MS }, 1))
  t.false(session().isSavedAs({ ...same, will }, 1))
  t.false(session({ will }).isSavedAs(same, 1))
})
