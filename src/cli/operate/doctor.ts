// trivet doctor: what would keep a broker from running well with these settings on this machine, in
// sentences with what to do about it. Before the first start and while it runs.
import { systemClock } from '../../clock.ts'
import { type Config, loadConfig } from '../../config.ts'
import { BrokerError } from '../../errors.ts'
import type { ServerRole } from '../../listening.ts'
import { holderOf } from '../../store/disk/directory-lock.ts'
import { command, type FlagValues, type Invocation } from '../command.ts'
import { connectionFlags, withClient } from '../connection.ts'
import type { Terminal } from '../terminal.ts'
import { visible } from '../words.ts'
import { checkDirectory } from './check-directory.ts'
import { checkListeners } from './check-listeners.ts'
import { checkMachine } from './check-machine.ts'
import { checkPeers } from './check-peers.ts'
import { type Finding, failed } from './finding.ts'
import { Progress } from './progress.ts'

const flags = {
  ...connectionFlags,
  config: { type: 'text', value: 'path', describe: 'Configuration file (default: trivet.json).' },
  role: {
    type: 'text',
    choices: ['start', 'namesrv', 'broker', 'gateway'],
    describe: 'The command that runs or is to run here (default: start).',
  },
  json: { type: 'boolean', describe: 'Print one JSON object.' },
} as const

export const doctor = command({
  summary: 'Look for what would keep a broker from running well on this machine',
  details:
    'Takes the settings as `trivet start` does and looks at ports, advertised addresses, the data directory and its disk, files,\n' +
    'memory, certificates, and the clocks of the brokers that the name servers know. Writes 64 MiB beside the data and removes\n' +
    'them. Exits with 1 when something has failed; warnings alone are 0.',
  takesSettings: true,
  flags,
  examples: ['trivet doctor', 'trivet doctor --config /etc/trivetmq/trivet.json --json'],
  async run(invocation) {
    const { flags: given, settings, env, terminal } = invocation
    const { values: config, file } = loadConfig({ file: given.config, env, flags: settings })
    const role = (given.role ?? 'start') as ServerRole
    const progress = new Progress(terminal, systemClock)
    const hasData = role === 'start' || role === 'broker'
    const pid = hasData ? runningOn(config.dataDir) : undefined
    const findings: readonly Finding[] = [
      ...(await checkListeners(role, config, pid !== undefined)),
      ...(hasData ? await checkDirectory(config.dataDir, systemClock, progress) : []),
      ...checkMachine(config, file, pid, systemClock.now()),
      ...(await peersOf(invocation, config, pid !== undefined)),
    ]
    progress.end()
    if (given.json) terminal.json({ isRunning: pid !== undefined, findings })
    else show(findings, terminal)
    const count = findings.filter(({ state }) => state === 'failed').length
    if (count === 0) return
    throw new BrokerError('INTERNAL', `${count} of ${findings.length} checks failed`)
  },
})

function runningOn(dataDir: string): number | undefined {
  try {
    return holderOf(dataDir)
  } catch {
    // It is not there yet.
    return undefined
  }
}

/** Brokers that these settings or flags lead to. */
async function peersOf(
  { flags: given, env, signal }: Invocation<typeof flags>,
  config: Config,
  isRunning: boolean,
): Promise<readonly Finding[]> {
  const nameServers = nameServersOf(given, config, isRunning)
  if (nameServers.length === 0) return []
  try {
    const around = { flags: { ...given, 'name-server': nameServers }, env, signal }
    return await withClient(around, (client) => checkPeers(client, systemClock, signal))
  } catch (error) {
    signal.throwIfAborted()
    const { message } = BrokerError.from(error)
    return [failed('peer', message, 'start the name server, or correct broker.nameServers')]
  }
}

function nameServersOf(
  given: FlagValues<typeof flags>,
  { broker, nameServer }: Config,
  isRunning: boolean,
): readonly string[] {
  if (given['name-server'].length > 0) return given['name-server']
  const own = isRunning && nameServer.enabled ? [`127.0.0.1:${nameServer.port}`] : []
  return broker.nameServers.length > 0 ? broker.nameServers : own
}

const SIGNS = { ok: 'ok', warning: 'WARNING', failed: 'FAILED' } as const

function show(findings: readonly Finding[], terminal: Terminal): void {
  for (const { state, text, advice } of findings) {
    terminal.print(visible(`${SIGNS[state].padEnd(8)} ${text}`))
    if (advice !== undefined) terminal.print(visible(`         ${advice}`))
  }
}
