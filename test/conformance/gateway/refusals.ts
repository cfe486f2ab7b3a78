// Refusals: logins, rights, a log that takes nothing, too many connections. Each is told, costs
// what it is about and nothing more.
import test, { type ExecutionContext } from 'ava'
import type { User } from '../../../src/access/known-users.ts'
import { topicOf } from '../../support/broker.ts'
import { cheapHash } from '../../support/cheap-password.ts'
import type { Driver, Login } from './driver.ts'
import { type Served, serve, TOPIC } from './server.ts'

const SECRET = '12345678'
const CLERK: Login = { user: 'clerk', password: SECRET }
const clerk: User = {
  ...{ password: cheapHash(SECRET), secretKey: SECRET, admin: false },
  ...{ publish: [TOPIC], consume: [TOPIC, 'mine'], create: [] },
}

export function refusalCases(driver: Driver): void {
  const { name } = driver
  const withUsers = (t: ExecutionContext): Promise<Served> => serve(t, driver, { users: { clerk } })

  test(`${name}: an unknown user, a wrong password and no login at all are refused alike`, async (t) => {
    const served = await withUsers(t)
    const refusal = async (login?: Login): Promise<string> => {
      const error = await served.passing(
        served.connect(login).then(
          () => 'let in',
          (thrown: unknown) => String((thrown as { message?: string }).message ?? thrown),
        ),
        // A password is hashed in real time, which the deadline of the handshake is not to outrun.
        1,
      )
      return error.replace(login?.user ?? '', '')
    }
    const wrong = await refusal({ user: 'clerk', password: 'guessed' })
    t.not(wrong, 'let in')
    t.is(await refusal({ user: 'eve', password: SECRET }), wrong)
    t.is(await refusal({ user: '__proto__', password: SECRET }), wrong)
    t.not(await refusal(), 'let in')
    await served.left(0)
    t.is(await (await served.connect(CLERK)).send(TOPIC, 'x'), 'accepted')
  })

  test(`${name}: a message to a topic without a grant is not stored, and the next one is`, async (t) => {
    const served = await withUsers(t)
    await served.host.broker.topics.put(topicOf('secret', 1))
    const client = await served.connect(CLERK)
    const verdict = await client.send('secret', 'x')
    t.is(verdict, driver.acknowledges('NAME_INVALID') ? 'accepted' : 'refused')
    t.deepEqual(await served.stored('secret'), [])
    t.is(await client.send(TOPIC, 'x'), 'accepted')
  })

  test(`${name}: reading needs a grant for the topic and for the group`, async (t) => {
    const served = await withUsers(t)
    await served.host.broker.topics.put(topicOf('secret', 1))
    const client = await served.connect(CLERK)
    await t.throwsAsync(client.reader('secret', 'mine'), { any: true })
    await t.throwsAsync(client.reader(TOPIC, 'theirs'), { any: true })
    const reader = await client.reader(TOPIC, 'mine')
    await client.send(TOPIC, 'x')
    t.is((await reader.take()).body.toString(), 'x')
  })

  test(`${name}: while the log takes nothing nothing is acknowledged, and reading goes on`, async (t) => {
    const served = await serve(t, driver)
    const reading = await served.connect()
    const reader = await reading.reader(TOPIC, 'g')
    t.is(await reading.send(TOPIC, 'before'), 'accepted')
    served.host.faults.isReadOnly = true
    const sender = await served.connect()
    t.not(await sender.send(TOPIC, 'refused'), 'accepted')
    t.is((await reader.take()).body.toString(), 'before')
    served.host.faults.becomesWritable()
    t.is(await (await served.connect()).send(TOPIC, 'after'), 'accepted')
    t.deepEqual(await served.stored(), ['before', 'after'])
  })

  test(`${name}: connections of one address beyond the limit are closed, and one that goes makes room`, async (t) => {
    const served = await serve(t, driver, { limits: { connectionsPerAddressMax: 2 } })
    const first = await served.connect()
    const second = await served.connect()
    const beyond = await served.peer()
    beyond.send(driver.hellos[0])
    t.is((await beyond.closed()).length, 0)
    await second.leave()
    await served.left(1)
    await (await served.connect()).ping()
    await first.ping()
    t.pass()
  })
}
