// Our SDK against a real Apache RocketMQ: if this passes, the protocol that it speaks is the real one.
import test from 'ava'
import { sdkSuite } from '../../test/conformance/sdk.ts'
import {
  type ApacheRocketmq,
  apacheRocketmqMissing,
  startApacheRocketmq,
} from '../support/apache-rocketmq.ts'

const missing = await apacheRocketmqMissing()

if (missing === undefined) {
  let apache: ApacheRocketmq
  test.before(async (t) => {
    t.timeout(400_000)
    apache = await startApacheRocketmq()
  })
  test.after.always(() => apache?.stop())
  sdkSuite(() => ({
    nameServer: apache.nameServer,
    broker: apache.broker,
    async restart() {
      await apache.killBroker()
      await apache.startBroker()
    },
  }))
} else {
  process.stderr.write(`SKIPPED: the SDK against Apache RocketMQ, because ${missing}\n`)
  test.skip(`the SDK against Apache RocketMQ: ${missing}`, (t) => t.pass())
}
