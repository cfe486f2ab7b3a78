// trivet offset: places of consumer groups.
import type { ResetPlace } from '../client/index.ts'
import { systemClock } from '../clock.ts'
import { BrokerError } from '../errors.ts'
import { command } from './command.ts'
import { connectionFlags, withClient } from './connection.ts'
import { momentMs } from './words.ts'

export const reset = command({
  summary: 'Move a group in a topic, members that are connected too',
  details:
    'Where it goes: first, last, a time (every message stored from then on is consumed again), or an offset of one --queue. ' +
    '--dry-run shows where each queue would go.',
  positionals: [
    { name: 'group', describe: 'Name of the group.' },
    { name: 'topic', describe: 'Name of the topic.' },
  ],
  flags: {
    ...connectionFlags,
    to: {
      type: 'text',
      value: 'place',
      describe: 'first, last, or a time: 2026-01-31T12:00:00Z, or 2h for two hours ago.',
    },
    offset: { type: 'number', describe: 'In place of --to: an offset of the --queue.' },
    queue: { type: 'number', describe: 'Only this queue.' },
    'broker-name': { type: 'text', describe: 'Only the queues of this broker.' },
    'dry-run': { type: 'boolean', describe: 'Show where it would go and change nothing.' },
    json: { type: 'boolean', describe: 'Print JSON.' },
  },
  examples: [
    'trivet offset reset billing orders --to 2h --dry-run',
    'trivet offset reset billing orders --to first',
    'trivet offset reset billing orders --queue 3 --offset 1200',
  ],
  async run({ args, flags, env, signal, terminal }) {
    const [group = '', topic = ''] = args
    const { queue: queueId, 'broker-name': brokerName, 'dry-run': dryRun } = flags
    const to = placeOf(flags.to, flags.offset)
    const moved = await withClient({ flags, env, signal }, (client) =>
      client.admin.groups.resetOffsets(
        { group, topic, to, queueId, brokerName, dryRun },
        { signal },
      ),
    )
    if (flags.json) return terminal.json({ group, topic, dryRun, queues: moved })
    terminal.table(
      ['BROKER', 'QUEUE', 'FROM', 'TO'],
      moved.map((one) => [one.brokerName, one.queueId, one.from < 0 ? '-' : one.from, one.to]),
    )
    terminal.print('')
    terminal.print(dryRun ? 'nothing was changed' : `'${group}' goes on from there in '${topic}'`)
  },
})

function placeOf(to: string | undefined, offset: number | undefined): ResetPlace {
  if ((to === undefined) === (offset === undefined)) {
    throw new BrokerError('ARGUMENT_INVALID', 'say --to or --offset, one of the two')
  }
  if (offset !== undefined) return { offset }
  if (to === 'first' || to === 'last') return to
  return { timestampMs: momentMs('--to', to!, systemClock.now()) }
}
