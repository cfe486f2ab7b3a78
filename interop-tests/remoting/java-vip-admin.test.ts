// mqadmin of Apache RocketMQ 5.5 by the VIP port, as rocketmq-dashboard asks by default: what it asks of a broker
// goes to the port two below the native one.

import { spawnServer } from '../../test/support/server.ts'
import { java, javaClientMissing, mqadminByVip } from '../support/java-client.ts'
import { needing } from '../support/needing.ts'

const missing = await javaClientMissing()
const testJava = needing('the Java client', missing)

testJava(
  'mqadmin by the VIP channel sees topics, groups and clients, and changes them',
  async (t) => {
    const server = await spawnServer(t)
    const common = { nameServer: server.address('nameServer'), topic: 'JavaVipAdmin' }
    const at = ['-n', common.nameServer] as const
    const [topic, group] = [['-t', common.topic] as const, ['-g', 'G_vip_admin'] as const]
    const consumer = await java(t, 'push', { ...common, group: 'G_vip_admin' })
    await (await java(t, 'produce', { ...common, count: 4 })).ends()
    await consumer.receives(4)
    t.regex(await mqadminByVip('topicStatus', ...at, ...topic), /broker-a\s+0\s+0\s+\d+/)
    t.regex(
      await mqadminByVip('consumerProgress', ...at, ...group),
      /JavaVipAdmin\s+broker-a\s+0\s+1\s/,
    )
    t.regex(await mqadminByVip('queryMsgByKey', ...at, ...topic, '-k', 'key-1'), /\d/)
    const shown = await mqadminByVip('consumerConnection', ...at, ...group)
    const [, clientId] = /^(\S+@\S+)/m.exec(shown) ?? []
    t.truthy(clientId, shown)
    const status = await mqadminByVip('consumerStatus', ...at, ...group, '-i', clientId!)
    t.regex(status, /#Consumer Properties#[\s\S]*#Consumer Subscription#[\s\S]*JavaVipAdmin/)
    await consumer.stop()
    const made = ['-c', 'DefaultCluster', '-t', 'JavaVipMade'] as const
    t.regex(await mqadminByVip('updateTopic', ...at, ...made, '-r', '3'), /success/)
    t.regex(await mqadminByVip('topicRoute', ...at, '-t', 'JavaVipMade'), /"readQueueNums":3/)
    t.regex(await mqadminByVip('deleteTopic', ...at, ...made), /success/)
  },
)

testJava('mqadmin by the VIP channel finds no broker that does not listen there', async (t) => {
  const server = await spawnServer(t, { config: { remoting: { vipChannel: false } } })
  const common = { nameServer: server.address('nameServer'), topic: 'JavaVipOff' }
  await (await java(t, 'produce', { ...common, count: 1 })).ends()
  const out = await mqadminByVip('topicStatus', '-n', common.nameServer, '-t', common.topic)
  t.regex(out, /connect to \S+ failed/)
})
