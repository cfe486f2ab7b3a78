// By whose rights a message goes out that aedes asks about.
import test from 'ava'
import { UserStore } from '../../../src/access/user-store.ts'
import type { LogEmitter } from '../../../src/aedes/emitter.ts'
import { systemClock } from '../../../src/clock.ts'
import { BrokerError } from '../../../src/errors.ts'
import { Hooks } from '../../../src/gateway/aedes/hooks.ts'
import { cheapHash } from '../../support/cheap-password.ts'

const clerk = {
  ...{ password: cheapHash('clerk'), admin: false },
  ...{ publish: ['orders'], consume: [], create: [] },
}

test('a will that was left behind goes by its own user, whatever client has its id now', (t) => {
  const auth = new UserStore({ clerk }, systemClock)
  const parts = { context: { auth, clock: systemClock }, persistence: { broker: { id: 'here' } } }
  const mq = { storeFirst: () => () => {}, shared: { place: () => 'orders' } }
  const hooks = new Hooks(parts as never, mq as unknown as LogEmitter)
  const checkPublish = (): void => {
    throw new BrokerError('PERMISSION_DENIED', 'not granted')
  }
  const client = { conn: { owner: { admitted: { rights: { checkPublish } } } } } as never
  const will = { topic: 'orders/x', payload: 'x', user: 'clerk' }
  t.is(hooks.refusalOf(client, { ...will, brokerId: 'gone' }), null)
  t.is(hooks.refusalOf(client, { ...will, brokerId: 'here' })?.code, 'PERMISSION_DENIED')
  const ofOther = { ...will, user: 'eve', brokerId: 'gone' }
  t.is(hooks.refusalOf(null, ofOther)?.code, 'PERMISSION_DENIED')
})
