// The page about delivery: how one group is shared over several protocols, and how a light queue is
// made.
import { execFile, spawnSync } from 'node:child_process'
import { promisify } from 'node:util'
import test from 'ava'
import { connect } from '../../src/client/index.ts'
import { connectRhea } from '../support/rhea-client.ts'
import { startServer } from '../support/server.ts'
import { textOf } from '../support/sources.ts'

const run = promisify(execFile)
const TOPIC = 'orders'
const GROUP = 'billing'
const SOURCE = `/topics/${TOPIC}/groups/${GROUP}`

test('AMQP and native members have a group one after the other, and go on where the others stopped', async (t) => {
  const { address, port } = await startServer(t)
  const mq = await connect({ nameServers: address('nameServer') })
  t.teardown(() => mq.close())
  await mq.admin.topics.create({ name: TOPIC, queues: 1 })
  const read = async (): Promise<string> => {
    const deliveries = mq.subscribe({ group: GROUP, topic: TOPIC, from: 'first' })
    for await (const delivery of deliveries) {
      await delivery.ack()
      return delivery.text()
    }
    throw new Error('the subscription ended')
  }
  await mq.send({ topic: TOPIC, body: 'first' })
  const peer = await connectRhea(t, port('amqp'))
  const receiver = await peer.receiver(SOURCE)
  await t.throwsAsync(read(), { message: /receive from it per message/ })
  const [message] = await receiver.accept(1)
  t.is(String(message!.body.content), 'first')
  await peer.close()
  await mq.send({ topic: TOPIC, body: 'second' })
  t.is(await read(), 'second')
})

test('the commands that make a light queue bring what came while the device was away', async (t) => {
  if (spawnSync('mosquitto_sub', ['--help']).error !== undefined) {
    t.log('mosquitto_sub is NOT INSTALLED: the commands were not run')
    t.pass()
    return
  }
  const { port } = await startServer(t)
  const [, section = ''] = textOf('docs/concepts/delivery.md').split('## Light queues')
  const [, commands = ''] = /^```sh\n(.*?)^```$/ms.exec(section) ?? []
  const placed = commands.replaceAll(/mosquitto_(sub|pub)/g, `$& -p ${port('mqtt')}`)
  const { stdout } = await run('sh', ['-ec', placed])
  t.is(stdout, 'reboot\n')
})
