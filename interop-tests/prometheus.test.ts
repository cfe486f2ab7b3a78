// What Grafana's boards ask for, answered by a real Prometheus that scrapes a broker: ours, and the
// queries by which Apache's dashboard looks at RocketMQ 5.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import test from 'ava'
import { connect } from '../src/client/index.ts'
import { connectRhea } from '../test/support/amqp/rhea-client.ts'
import { mqttClient } from '../test/support/mqtt/mqtt.ts'
import { startServer } from '../test/support/server.ts'
import { textOf } from '../test/support/sources/sources.ts'
import { type Teardown, tempDir } from '../test/support/temp-dir.ts'
import { eventually } from '../test/support/waiting.ts'

const PROMETHEUS = '/usr/bin/prometheus'

/** By Apache's metric names for brokers of version 5, with the labels that its boards group by. */
const APACHE = [
  'sum(rate(rocketmq_messages_in_total[1m])) by (cluster, node_id)',
  'sum(rate(rocketmq_messages_out_total[1m])) by (cluster, node_id, consumer_group)',
  'sum(rocketmq_consumer_lag_messages) by (cluster, topic, consumer_group)',
  'sum(rocketmq_consumer_inflight_messages) by (cluster, topic, consumer_group)',
  'count(count by (topic) (rocketmq_messages_in_total))',
  'sum(rate(rocketmq_send_to_dlq_messages_total[1m])) by (cluster)',
  'max(rocketmq_topic_number) by (node_id)',
  'max(rocketmq_consumer_group_number) by (node_id)',
  'sum(rocketmq_storage_size) by (cluster, node_id)',
  'sum(rocketmq_timing_messages) by (cluster)',
  'sum by (topic) (rate(rocketmq_messages_in_total{cluster="DefaultCluster",topic="orders"}[1m]))',
  'sum by (topic) (rate(rocketmq_messages_out_total{cluster="DefaultCluster",topic="orders"}[1m]))',
  // By the labels that the page has Prometheus add.
  'sum by (broker) (rate(rocketmq_messages_in_total{broker="broker-a"}[1m]))',
  'sum by (broker) (rate(rocketmq_messages_out_total{broker="broker-a"}[1m]))',
  'count(count by (group) (rocketmq_messages_out_total{group="billing"}))',
]

/** As the page about monitoring has it. */
const RELABEL = /^ {4}metric_relabel_configs:\n(?: {6}- .+\n)+/m.exec(
  textOf('docs/operate/monitoring.md'),
)![0]

async function freePort(): Promise<number> {
  const server = createServer()
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}

/** Scrapes the target each second; answers the series of a query. */
async function startPrometheus(t: Teardown, target: string) {
  const directory = await tempDir(t)
  const file = join(directory, 'prometheus.yml')
  writeFileSync(
    file,
    `global: { scrape_interval: 1s }
scrape_configs:
  - job_name: trivet
    static_configs: [{ targets: ['${target}'] }]
${RELABEL}`,
  )
  const address = `127.0.0.1:${await freePort()}`
  const process = spawn(
    PROMETHEUS,
    [
      `--config.file=${file}`,
      `--storage.tsdb.path=${join(directory, 'data')}`,
      `--web.listen-address=${address}`,
    ],
    { stdio: 'ignore' },
  )
  t.teardown(async () => {
    process.kill('SIGKILL')
    await once(process, 'exit')
  })
  return async (query: string): Promise<readonly unknown[]> => {
    const url = `http://${address}/api/v1/query?query=${encodeURIComponent(query)}`
    const answer = await fetch(url).catch(() => undefined)
    if (answer === undefined || answer.status === 503) return []
    const { status, data, error } = (await answer.json()) as {
      readonly status: string
      readonly data?: { readonly result: readonly unknown[] }
      readonly error?: string
    }
    if (status !== 'success') throw new Error(`${query}: ${error}`)
    return data!.result
  }
}

const title = "the queries of Grafana's boards are answered from what a broker tells"

if (!existsSync(PROMETHEUS)) {
  test(`${title}: SKIPPED`, (t) => {
    t.log(`prometheus is NOT INSTALLED at ${PROMETHEUS}: the boards were not tried`)
    t.pass()
  })
} else {
  test(title, async (t) => {
    const { port, address } = await startServer(t)
    const query = await startPrometheus(t, address('http'))
    const mqtt = await mqttClient(t, port('mqtt'), 5, { clientId: 'sensor' })
    await mqtt.subscribe('orders', { qos: 1 })
    const amqp = await connectRhea(t, port('amqp'))
    const sender = await amqp.sender('orders')
    const receiver = await amqp.receiver('orders::billing')
    receiver.credit(10_000)
    receiver.link.on('message', ({ delivery }) => void delivery?.accept())
    const mq = await connect({ nameServers: address('nameServer') })
    t.teardown(() => mq.close())
    const round = async (): Promise<void> => {
      await mqtt.publish('orders', 'x')
      await sender.send({ body: 'x' })
      await mq.send({ topic: 'orders', body: 'x' })
    }
    const board = JSON.parse(textOf('deploy/grafana/trivetmq.json')) as {
      panels: { targets?: { expr: string }[] }[]
    }
    const own = board.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr))
    for (const asked of [...own, ...APACHE]) {
      const plain = asked
        .replaceAll('$__rate_interval', '1m')
        .replaceAll(/\$(cluster|node)\b/g, '.*')
      t.notRegex(plain, /\$/)
      const series = await eventually(async () => {
        await round()
        const found = await query(plain)
        return found.length > 0 ? found : undefined
      }).catch(() => [])
      t.true(series.length > 0, plain)
    }
  })
}
