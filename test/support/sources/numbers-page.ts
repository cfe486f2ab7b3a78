// docs/reference/numbers.md, as a whole broker declares its numbers. Run by itself it prints the
// page.
import { fileURLToPath } from 'node:url'
import { systemClock } from '../../../src/clock.ts'
import type { Declared } from '../../../src/numbers/declared.ts'
import * as ofReplication from '../../../src/replication/numbers.ts'
import { mqttClient } from '../mqtt/mqtt.ts'
import { startServer } from '../server.ts'
import type { Teardown } from '../temp-dir.ts'

const HEAD = `# Numbers

What a broker counts, by Prometheus's rules for names: a \`_total\` only grows and begins at 0 with the process, a
histogram has buckets. Names that begin with \`rocketmq_\` are Apache RocketMQ's and mean what they mean there, but for
[a few differences](compatibility.md#metrics). [Monitoring](../operate/monitoring.md) says which of them to watch.

All of them are at [\`/metrics\`](../operate/http.md#metrics), for Prometheus. All but \`rocketmq_messages_in_total\`,
\`rocketmq_messages_out_total\` and \`trivet_series_left_out\` are \`brokers[].state.numbers\` of \`trivet status --json\`, and among the lines that \`mqadmin brokerStatus\`
prints, as \`name{label="value"}\`. Of a histogram there are \`name_count\`, \`name_sum\`, and
\`name{quantile="0.5"}\`, \`"0.99"\` and \`"1"\`: what half, 99 % and all of them do not exceed. This page is generated
from the declarations in the source.

| number | kind | unit | labels | meaning |
|---|---|---|---|---|
`

export function numbersPage(declared: readonly Declared[]): string {
  const rows = declared.map(({ name, kind, unit, labels = {}, help }) => {
    const told = Object.entries(labels).map(([label, values]) =>
      typeof values === 'number' ? `\`${label}\` (${values} at most)` : `\`${label}\``,
    )
    return `| \`${name}\` | ${kind} | ${unit} | ${told.join(', ')} | ${help} |\n`
  })
  const values = new Map(
    declared.flatMap(({ labels = {} }) =>
      Object.entries(labels).filter(([, all]) => typeof all !== 'number'),
    ),
  )
  const lists = [...values]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([label]) => {
      const all = new Set(
        declared.flatMap(({ labels }) => {
          const own = labels?.[label] ?? []
          return typeof own === 'number' ? [] : own
        }),
      )
      return `- \`${label}\`: ${[...all].map((value) => `\`${value}\``).join(', ')}\n`
    })
  return `${HEAD}${rows.join('')}\nLabels with a fixed set of values:\n\n${lists.join('')}`
}

/** Of a broker that had an MQTT client, and of copies of one. */
export async function allDeclared(t: Teardown): Promise<readonly Declared[]> {
  const broker = await startServer(t, { clock: systemClock })
  await mqttClient(t, broker.port('mqtt'), 5)
  const all = [...broker.server.numbers.declared(), ...Object.values(ofReplication)]
  return all.toSorted((a, b) => (a.name < b.name ? -1 : 1))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const ends: (() => unknown)[] = []
  process.stdout.write(numbersPage(await allDeclared({ teardown: (end) => void ends.push(end) })))
  for (const end of ends.reverse()) await end()
}
