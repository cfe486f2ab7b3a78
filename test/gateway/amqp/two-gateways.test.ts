// Two gateways over one broker: links of both are members of one group.
import test, { type ExecutionContext } from 'ava'
import { UserStore } from '../../../src/access/user-store.ts'
import { systemClock } from '../../../src/clock.ts'
import { AmqpGateway } from '../../../src/gateway/amqp/server.ts'
import { silentLogger } from '../../../src/log.ts'
import { Numbers } from '../../../src/numbers/numbers.ts'
import type { Broker } from '../../../src/port/broker.ts'
import { startAmqp } from '../../support/amqp/amqp-server.ts'
import { bodyText, connectRhea, type RheaClient } from '../../support/amqp/rhea-client.ts'
import { openFrontEnd } from '../../support/front-end.ts'
import { eventually } from '../../support/waiting.ts'
import { publish } from './receiving.ts'

const name = 'sub'
const source = { address: 'orders', capabilities: ['topic', 'shared', 'global'] }
const durable = { name, source: { ...source, durable: 2, expiry_policy: 'never' } }

async function startTwo(
  t: ExecutionContext,
): Promise<{ broker: Broker; here: RheaClient; there: RheaClient }> {
  const { broker, port } = await startAmqp(t)
  const auth = new UserStore({}, systemClock)
  const context = { broker, auth, log: silentLogger, clock: systemClock, numbers: new Numbers() }
  const gateway = new AmqpGateway(context)
  const other = await openFrontEnd(t, gateway, { clock: systemClock })
  return {
    broker,
    here: await connectRhea(t, port, { container_id: 'here' }),
    there: await connectRhea(t, other.port, { container_id: 'there' }),
  }
}

test('a shared subscription lasts as long as a link at either gateway has it', async (t) => {
  const { broker, here, there } = await startTwo(t)
  const first = await here.receiver({ name, source })
  await publish(broker, 'orders', ['one'])
  const second = await there.receiver({ name, source })
  t.is(bodyText((await first.accept(1))[0]!), 'one')
  await first.detach()
  await publish(broker, 'orders', ['two'])
  t.is(bodyText((await second.accept(1))[0]!), 'two')
  await second.detach()
  await eventually(async () =>
    (await broker.groups.list()).every((group) => !group.name.startsWith(name)) ? true : undefined,
  )
})

test('a durable subscription does not change while a link at the other gateway has it', async (t) => {
  const { here, there } = await startTwo(t)
  await here.receiver(durable)
  const changed = { ...durable, source: { ...durable.source, address: 'others' } }
  const error = await t.throwsAsync(there.receiver(changed) as Promise<never>, { any: true })
  t.regex((error as { description?: string }).description!, /has consumers of topic 'orders'/)
})
