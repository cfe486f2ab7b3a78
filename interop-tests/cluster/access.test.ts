// A gateway before an Apache RocketMQ with access control.
import test from 'ava'
import { connect } from '../../src/client/index.ts'
import { systemClock } from '../../src/clock.ts'
import { openClusterBroker } from '../../src/cluster/broker.ts'
import { BrokerError } from '../../src/errors.ts'
import { newMessage, receiptsOf, receiveRequest } from '../../test/support/broker.ts'
import {
  type ApacheRocketmq,
  apacheRocketmqMissing,
  startApacheRocketmq,
} from '../support/apache-rocketmq.ts'

const missing = await apacheRocketmqMissing()
if (missing !== undefined) {
  process.stderr.write(`SKIPPED: access control of Apache RocketMQ, because ${missing}\n`)
  test.skip(`access control of Apache RocketMQ: ${missing}`, (t) => t.pass())
}
const testAll = missing === undefined ? test.serial : test.skip

const AUTH = 'org.apache.rocketmq.auth'
const root = { accessKey: 'root', secretKey: 'open-sesame' }
let apache: ApacheRocketmq

test.before(async (t) => {
  t.timeout(400_000)
  if (missing !== undefined) return
  const authentication = `${AUTH}.authentication.provider`
  const authorization = `${AUTH}.authorization.provider`
  apache = await startApacheRocketmq({
    broker: {
      authenticationEnabled: 'true',
      authenticationProvider: `${authentication}.DefaultAuthenticationProvider`,
      authenticationMetadataProvider: `${authentication}.LocalAuthenticationMetadataProvider`,
      authorizationEnabled: 'true',
      authorizationProvider: `${authorization}.DefaultAuthorizationProvider`,
      authorizationMetadataProvider: `${authorization}.LocalAuthorizationMetadataProvider`,
      initAuthenticationUser: JSON.stringify({
        username: root.accessKey,
        password: root.secretKey,
      }),
      innerClientAuthenticationCredentials: JSON.stringify(root),
    },
  })
  await using mq = await connect({ nameServers: apache.nameServer, auth: root })
  for (const name of ['open', 'closed']) await mq.admin.topics.create({ name, queues: 2 })
})
test.after.always(() => apache?.stop())

const opening = (credentials: typeof root | undefined) =>
  openClusterBroker({
    ...{ clock: systemClock, name: 'gateway' },
    options: { nameServers: [apache.nameServer], credentials },
  })

testAll('a wrong key, a stranger and none are refused, and what to set is said', async (t) => {
  t.timeout(60_000)
  const wrong = { ...root, secretKey: 'open-barley' }
  for (const credentials of [wrong, { ...root, accessKey: 'nobody' }, undefined]) {
    const error = await t.throwsAsync(opening(credentials), { code: 'PERMISSION_DENIED' })
    t.regex(error!.message, /cluster\.accessKey/)
  }
})

testAll('with the right key messages go in and out, settled', async (t) => {
  t.timeout(120_000)
  const broker = await opening(root)
  t.teardown(() => broker.close())
  await broker.groups.ensure('workers')
  const [result] = await broker.publish([newMessage('open', { body: 'a' })])
  t.false(result instanceof BrokerError)
  const received = await broker.receive(receiveRequest('open', 'workers', { waitMs: 20_000 }))
  t.deepEqual(await broker.ack(receiptsOf(received)), [null])
  const version = await broker.states.save('id', Buffer.from('value'))
  t.true(version > 0)
})
