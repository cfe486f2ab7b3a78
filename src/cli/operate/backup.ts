// trivet backup: a copy of a broker's data while it runs, that is checked and can be started.
import { systemClock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { holderOf } from '../../store/disk/directory-lock.ts'
import { nodeDisk } from '../../store/disk/node-disk.ts'
import { copyLog } from '../../store/log-copy.ts'
import { command, type Invocation } from '../command.ts'
import { connectionFlags, withClient } from '../connection.ts'
import { size } from '../words.ts'
import { Progress } from './progress.ts'

const STEPS = { copy: 'copied', verify: 'checked' } as const

const flags = {
  ...connectionFlags,
  json: { type: 'boolean', describe: 'Print one JSON object.' },
} as const

export const backup = command({
  summary: "Copy a broker's data while it runs",
  details:
    'Runs on the machine of the broker, as a user that may read its data directory. The copy holds everything that was\n' +
    'acknowledged before the command began, and is checked frame by frame. Where the broker has users, an admin asks.\n' +
    'To restore, start a broker on the copy: docs/operate/backup.md says what to think of.',
  positionals: [
    { name: 'data', describe: 'The data directory (`dataDir`).' },
    { name: 'copy', describe: 'A new directory, on another disk if you can.' },
  ],
  flags,
  examples: [
    'trivet backup /var/lib/trivetmq /backup/monday',
    'trivet backup /var/lib/trivetmq /backup/monday --broker localhost:10911 --json',
  ],
  async run(invocation) {
    const { args, terminal, signal } = invocation
    const [from = '', to = ''] = args
    const progress = new Progress(terminal, systemClock)
    const isRunning = isOpen(from)
    try {
      const { segments, bytes, damagedBytes } = await copyLog({
        ...{ disk: nodeDisk, from, to, signal },
        end: isRunning ? () => logEnd(invocation) : undefined,
        moved: (step, done, of) =>
          progress.moved(
            of === 0 ? 1 : done / of,
            () => `${STEPS[step]} ${size(done)} of ${size(of)}`,
          ),
      })
      progress.end()
      if (invocation.flags.json)
        terminal.json({ from, to, isRunning, segments, bytes, damagedBytes })
      else
        terminal.print(
          `${size(bytes)} in ${segments} ${segments === 1 ? 'segment' : 'segments'} copied to ${to} and checked`,
        )
      if (damagedBytes === 0) return
      throw new BrokerError(
        'STORE_CORRUPT',
        `${size(damagedBytes)} of the log are damaged, in '${from}' as in the copy, which serves all the rest; ` +
          'take an older copy for what is missing',
      )
    } finally {
      progress.end()
    }
  },
})

/** A directory that is none is refused when it is read. */
function isOpen(from: string): boolean {
  try {
    return holderOf(from) !== undefined
  } catch {
    return false
  }
}

/** @throws BrokerError ARGUMENT_INVALID where it is not clear which broker has the directory */
function logEnd({ flags: given, env, signal }: Invocation<typeof flags>): Promise<number> {
  return withClient({ flags: given, env, signal }, async (client) => {
    const brokers = await client.admin.brokers({ signal })
    const masters = brokers.flatMap(({ addresses }) => addresses.get(0) ?? [])
    const [address, ...others] = masters
    if (address === undefined || others.length > 0) {
      const text = `there are ${masters.length} brokers; say with --broker host:port whose data it is`
      throw new BrokerError('ARGUMENT_INVALID', text)
    }
    const { logEnd: end } = await client.admin.brokerState(address, { signal })
    if (end !== undefined) return end
    throw new BrokerError(
      'NOT_SUPPORTED',
      `the broker at ${address} does not say where its log ends`,
    )
  })
}
