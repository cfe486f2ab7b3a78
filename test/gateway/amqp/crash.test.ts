// Durable subscriptions take several appends: whichever of them a kill falls between, the client
// that was not answered asks again and has what it asked for.
import test, { type ExecutionContext } from 'ava'
import { UserStore } from '../../../src/access/user-store.ts'
import { GroupMembers } from '../../../src/gateway/amqp/links/presence.ts'
import { Subscriptions } from '../../../src/gateway/amqp/links/subscriptions.ts'
import { silentLogger } from '../../../src/log.ts'
import { Numbers } from '../../../src/numbers/numbers.ts'
import { startBroker, stateIds, type TestBroker } from '../../support/broker.ts'

const NAME = {
  ...{ containerId: 'c', group: 'c%2Esub', isShared: false, isGlobal: false, isDurable: true },
}
const OLD = { topic: 'old', filter: '*' }
const NEW = { topic: 'new', filter: '*' }

function subscriptionsOf({ broker, clock }: TestBroker) {
  const auth = new UserStore({}, clock)
  const context = { broker, auth, clock, log: silentLogger, numbers: new Numbers() }
  const subscriptions = new Subscriptions(context, new GroupMembers(broker.clients))
  return {
    open: (selection: typeof OLD) =>
      subscriptions.open(NAME, selection, auth.ownerOf(undefined)!, () => {}),
    remove: () => subscriptions.remove(NAME.group),
    topic: async () => {
      const found = await subscriptions.find('sub', 'c', auth.ownerOf(undefined)!)
      return found.topic
    },
  }
}

type Opened = ReturnType<typeof subscriptionsOf>

const hasGroup = async ({ broker }: TestBroker): Promise<boolean> =>
  (await broker.groups.get(NAME.group)) !== undefined

/** Kills before the first append of the request, before the second, and at last after it. */
async function killBeforeEachAppend(
  t: ExecutionContext,
  isKept: boolean,
  act: (subscriptions: Opened) => Promise<unknown>,
  check: (after: TestBroker, subscriptions: Opened) => Promise<void>,
): Promise<void> {
  let appends = 0
  for (let isAnswered = false; !isAnswered; appends++) {
    const before = await startBroker(t)
    await before.broker.topics.ensure('old')
    await before.broker.topics.ensure('new')
    const subscriptions = subscriptionsOf(before)
    if (isKept) await subscriptions.open(OLD)
    const { faults } = before
    faults.diesAt = faults.appends + appends
    const death = new Promise<boolean>((resolve) => {
      faults.died = () => resolve(false)
    })
    const acting = act(subscriptions).then(() => true)
    acting.catch(() => {})
    isAnswered = await Promise.race([acting, death])
    await faults.idle()
    const after = await before.crash()
    faults.bury()
    await before.close()
    const again = subscriptionsOf(after)
    if (!isAnswered) await act(again)
    await check(after, again)
    await after.close()
  }
  t.true(appends > 2, `${appends} kills`)
}

for (const isKept of [false, true]) {
  const what = isKept ? 'that selects something else now' : 'that is new'
  test(`a durable subscription ${what} is there after any kill, with its group`, (t) =>
    killBeforeEachAppend(
      t,
      isKept,
      ({ open }) => open(NEW),
      async (after, { topic }) => {
        t.is(await topic(), 'new')
        t.true(await hasGroup(after))
      },
    ))
}

test('a durable subscription that is ended is gone after any kill, with its group', (t) =>
  killBeforeEachAppend(
    t,
    true,
    ({ remove }) => remove(),
    async (after) => {
      t.false(await hasGroup(after))
      t.deepEqual(await stateIds(after.broker, 'amqp/'), [])
    },
  ))
