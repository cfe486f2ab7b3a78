// RocketMQ's ACL: what the SDK signs is what a real Apache RocketMQ verifies.
import test from 'ava'
import { connect } from '../../src/client/index.ts'
import {
  type ApacheRocketmq,
  apacheRocketmqMissing,
  startApacheRocketmq,
} from '../support/apache-rocketmq.ts'

const missing = await apacheRocketmqMissing()
const PROVIDERS = 'org.apache.rocketmq.auth.authentication.provider'
const auth = { accessKey: 'trivet', secretKey: 'open-sesame' }

if (missing === undefined) {
  let apache: ApacheRocketmq
  test.before(async (t) => {
    t.timeout(400_000)
    apache = await startApacheRocketmq({
      broker: {
        authenticationEnabled: 'true',
        authenticationProvider: `${PROVIDERS}.DefaultAuthenticationProvider`,
        authenticationMetadataProvider: `${PROVIDERS}.LocalAuthenticationMetadataProvider`,
        initAuthenticationUser: JSON.stringify({
          username: auth.accessKey,
          password: auth.secretKey,
        }),
        innerClientAuthenticationCredentials: JSON.stringify(auth),
      },
    })
  })
  test.after.always(() => apache?.stop())

  test('signed requests are accepted: topics, sends, batches, consuming, settling', async (t) => {
    await using mq = await connect({ nameServers: apache.nameServer, auth })
    await mq.admin.topics.create({ name: 'signed', queues: 2 })
    await mq.send({ topic: 'signed', body: 'größe', tag: 'a', properties: { ключ: 'знак' } })
    await mq.sendBatch([1, 2].map((n) => ({ topic: 'signed', body: String(n) })))
    const source = { group: 'signers', topic: 'signed', from: 'first' } as const
    const got = new Set<string>()
    while (got.size < 3) {
      for (const delivery of await mq.poll(source, { max: 3, waitMs: 10_000 })) {
        got.add(delivery.text())
        await delivery.ack()
      }
    }
    t.deepEqual([...got].toSorted(), ['1', '2', 'größe'])
  })

  for (const [who, wrong] of [
    ['a wrong secret key', { ...auth, secretKey: 'open-barley' }],
    ['an unknown user', { ...auth, accessKey: 'nobody' }],
    ['no credentials', undefined],
  ] as const) {
    test(`${who} is refused in words`, async (t) => {
      await using mq = await connect({ nameServers: apache.nameServer, auth: wrong })
      await t.throwsAsync(mq.send({ topic: 'signed', body: 'x' }), { code: 'PERMISSION_DENIED' })
      await t.throwsAsync(mq.admin.topics.create({ name: 'mine' }), { code: 'PERMISSION_DENIED' })
      const subscription = mq.subscribe({ group: 'intruders', topic: 'signed' })
      await t.throwsAsync(subscription.next(), { code: 'PERMISSION_DENIED' })
    })
  }
} else {
  process.stderr.write(`SKIPPED: the SDK's signature against Apache RocketMQ, because ${missing}\n`)
  test.skip(`the SDK's signature against Apache RocketMQ: ${missing}`, (t) => t.pass())
}
