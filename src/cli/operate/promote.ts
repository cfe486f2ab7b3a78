// trivet broker promote: a slave becomes the master, when its master is gone.
import { command } from '../command.ts'
import { connectionFlags, withClient } from '../connection.ts'

export const promote = command({
  summary: 'Make a slave the master, by hand',
  details:
    'The slave refuses while its master is connected, and where it knows that it lacks something, ' +
    'or cannot know: --force then accepts that what it lacks is lost. ' +
    'Where etcd elects the master it is for the case that no copy in sync is left, and needs --force.',
  positionals: [{ name: 'slave', describe: "host:port of the slave, for RocketMQ's clients." }],
  flags: {
    ...connectionFlags,
    force: { type: 'boolean', describe: 'Also when acknowledged messages may be lost by it.' },
    json: { type: 'boolean', describe: 'Print one JSON object.' },
  },
  examples: ['trivet broker promote 10.0.0.2:10911'],
  async run({ args, flags, env, signal, terminal }) {
    const address = args[0]!
    const around = { flags: { ...flags, broker: flags.broker ?? address }, env, signal }
    const epoch = await withClient(around, (client) =>
      client.admin.promote(address, { force: flags.force, signal }),
    )
    if (flags.json) terminal.json({ address, epoch })
    else {
      terminal.note(`${address} is the master from epoch ${epoch} on.`)
      terminal.note(
        'Without etcd: set its broker.role to ASYNC_MASTER or SYNC_MASTER before it starts again.',
      )
    }
  },
})
