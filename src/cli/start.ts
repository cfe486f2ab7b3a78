// trivet start, namesrv, broker, gateway: run a role of the cluster and say where it listens.
import { loadConfig } from '../config.ts'
import { type Command, command, type ListeningAddress, type Role } from './command.ts'

const NAME_SERVER_FLAG = {
  'name-servers': {
    type: 'text',
    value: 'host:port,...',
    describe: 'The cluster: short for --cluster.name-servers.',
  },
} as const

const PORT_FLAG = {
  port: {
    type: 'text',
    value: 'number',
    describe: 'One port for every protocol, in place of their own: short for --any.port.',
  },
} as const

const roleCommand = (role: Role, summary: string): Command =>
  command({
    summary,
    takesSettings: true,
    flags: {
      config: {
        type: 'text',
        value: 'path',
        describe: 'Configuration file (default: trivet.json).',
      },
      json: { type: 'boolean', describe: 'Print the addresses as one line of JSON once it runs.' },
      ...PORT_FLAG,
      ...(role === 'gateway' && NAME_SERVER_FLAG),
    },
    async run({ flags, settings, env, roles, terminal }) {
      const nameServers = 'name-servers' in flags ? flags['name-servers'] : undefined
      const given = new Map(settings)
      if (flags.port !== undefined) given.set('any.port', flags.port)
      if (nameServers !== undefined) given.set('cluster.name-servers', nameServers)
      const loaded = loadConfig({ file: flags.config, env, flags: given })
      const running = await roles.run(role, loaded.values)
      const { addresses, startedInMs } = running
      if (flags.json) terminal.json({ role, pid: process.pid, startedInMs, addresses })
      else
        terminal.print(banner(role, addresses, startedInMs, loaded.values.dataDir, env).join('\n'))
      await running.stopped
    },
  })

export const start = roleCommand(
  'start',
  'Run everything in one process: name server, broker and every front-end',
)
export const namesrv = roleCommand('namesrv', 'Run a name server alone')
export const broker = roleCommand(
  'broker',
  'Run a broker with its front-ends, registered with name servers elsewhere',
)

export const gateway = roleCommand(
  'gateway',
  'Run the MQTT and AMQP front-ends before a cluster of RocketMQ brokers',
)

const LABELS: ReadonlyMap<string, string> = new Map([
  ['nameServer', 'name server'],
  ['remoting', 'RocketMQ'],
  ['vip', 'RocketMQ VIP'],
  ['mqtt', 'MQTT'],
  ['amqp', 'AMQP 1.0'],
  ['http', 'HTTP'],
  ['any', 'all'],
])

export function banner(
  role: Role,
  addresses: readonly ListeningAddress[],
  startedInMs: number,
  dataDir: string,
  env: Readonly<Record<string, string | undefined>>,
): readonly string[] {
  const lines = [`TrivetMQ is running (started in ${Math.round(startedInMs)} ms)`, '']
  for (const { name, host, port, advertised } of addresses) {
    const isPath = host.startsWith('/')
    const bound = isPath ? host : `${host.includes(':') ? `[${host}]` : host}:${port}`
    const word = advertised ?? 'whatever they dialled'
    const told = isPath || word === bound ? '' : `  (clients are told ${word})`
    lines.push(`  ${(LABELS.get(name) ?? name).padEnd(12)} ${bound}${told}`)
  }
  if (role === 'start' || role === 'broker') lines.push(`  ${'data'.padEnd(12)} ${dataDir}`)
  // `npm start` runs in a clone, where the command is not on the path.
  const trivet = env['npm_lifecycle_event'] === undefined ? 'trivet' : 'npx trivet'
  const tries = firstCommands(addresses, trivet)
  if (tries.length > 0) lines.push('', 'Try, in another terminal:', '', ...tries)
  return [...lines, '']
}

/** Commands that work as they stand, for what listens. */
function firstCommands(addresses: readonly ListeningAddress[], trivet: string): readonly string[] {
  // Of several addresses of one protocol its own comes first.
  const at = new Map(addresses.toReversed().map((address) => [address.name, address]))
  const lines: string[] = []
  const any = at.get('any')
  const nameServer = at.get('nameServer') ?? any
  if (nameServer && (at.has('remoting') || any)) {
    const where =
      nameServer.port === 9876
        ? ''
        : ` --name-server ${nameServer.advertised ?? `localhost:${nameServer.port}`}`
    lines.push(`  ${trivet} sub orders${where}`)
    lines.push(`  ${trivet} pub orders 'hello' --tag paid${where}`)
  }
  const mqtt = at.get('mqtt') ?? any
  if (mqtt) {
    const where = mqtt.port === 1883 ? '' : ` -p ${mqtt.port}`
    lines.push(`  mosquitto_pub${where} -q 1 -t orders/paid -m 'hello'`)
  }
  return lines
}
