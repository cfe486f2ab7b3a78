// trivet status: the cluster and the state of each of its brokers, as they say it themselves.
import type { BrokerState, Client } from '../client/index.ts'
import { BrokerError, type ErrorCode } from '../errors.ts'
import { FOLLOWS_MASTER } from '../model/status.ts'
import { command } from './command.ts'
import { connectionFlags, withClient } from './connection.ts'
import { sumOf } from './operate/numbers.ts'
import type { Terminal } from './terminal.ts'
import { size, span } from './words.ts'

interface BrokerRow {
  readonly cluster: string
  readonly broker: string
  readonly address: string
  readonly role: 'master' | 'slave'
  readonly state: BrokerState | undefined
  /** Why there is no state. */
  readonly error: BrokerError | undefined
}

/** The broker is there, and does not tell this user. */
const REFUSALS: ReadonlySet<ErrorCode> = new Set(['UNAUTHENTICATED', 'PERMISSION_DENIED'])

export const status = command({
  summary: 'Show the brokers of a cluster and their state',
  flags: {
    ...connectionFlags,
    json: { type: 'boolean', describe: 'Print one JSON object.' },
  },
  examples: ['trivet status', 'trivet status --name-server mq.example:9876 --json'],
  async run({ flags, env, signal, terminal }) {
    const brokers = await withClient({ flags, env, signal }, (client) => rows(client, signal))
    if (flags.json) {
      const told = brokers.map((row) => ({ ...row, error: row.error?.message }))
      terminal.json({ brokers: told })
    } else show(brokers, terminal)
    const [first] = brokers
    if (first?.error === undefined || brokers.some(({ state }) => state !== undefined)) return
    const { code } = first.error
    throw new BrokerError(code, 'no broker of the cluster tells its state', { cause: first.error })
  },
})

function show(brokers: readonly BrokerRow[], terminal: Terminal): void {
  if (brokers.length === 0) {
    terminal.note('the name server answers, but knows no broker; start one with: trivet broker')
    return
  }
  terminal.table(
    ['CLUSTER', 'BROKER', 'ADDRESS', 'ROLE', 'STATE', 'UP', 'IN', 'OUT', 'LOG'],
    brokers.map((row) => [row.cluster, row.broker, row.address, row.role, ...cells(row)]),
  )
  const protocols = brokers.flatMap(protocolRows)
  if (protocols.length > 0) {
    terminal.print('')
    terminal.table(['BROKER', 'PROTOCOL', 'CONNECTIONS', 'IN', 'OUT', 'REFUSED'], protocols)
  }
  for (const { broker, error, state } of brokers) {
    if (error) terminal.note(`${broker}: ${error.message}`)
    for (const text of state === undefined ? [] : troubles(state)) {
      terminal.note(`${broker}: ${text}`)
    }
  }
}

const PROTOCOLS = ['remoting', 'mqtt', 'amqp']

/** Of the protocols that the broker listens for. */
function protocolRows({ broker, state }: BrokerRow): readonly (readonly unknown[])[] {
  return PROTOCOLS.flatMap((protocol) => {
    const sum = (name: string) => sumOf(state, name, protocol)
    const connections = sum('trivet_connections')
    if (connections === undefined) return []
    const [messagesIn, messagesOut] = [
      sum('trivet_messages_in_total'),
      sum('trivet_messages_out_total'),
    ]
    const refused = sum('trivet_messages_refused_total') ?? 0
    return [[broker, protocol, connections, messagesIn, messagesOut, refused]]
  })
}

/** A copy that had not all for so long is told. */
const BEHIND_SECONDS_TOLD = 15

/** What an operator should know, in sentences. */
export function troubles({ numbers, values }: BrokerState): readonly string[] {
  const ranges = numbers['trivet_store_damaged_ranges'] ?? 0
  const bytes = numbers['trivet_store_damaged_bytes'] ?? 0
  const records = numbers['trivet_store_damaged_records_total'] ?? 0
  const reason = values['readOnlyReason'] ?? ''
  const behindBytes = numbers['trivet_replication_behind_bytes'] ?? 0
  const behindSeconds = numbers['trivet_replication_behind_seconds'] ?? 0
  const isSlave = numbers['trivet_replication_connected'] !== undefined
  return [
    ...(reason === '' || reason === FOLLOWS_MASTER
      ? []
      : [`${isSlave ? 'copies nothing' : 'takes no messages'}: ${reason}`]),
    ...(ranges === 0
      ? []
      : [`${ranges} ranges of the log, ${size(bytes)}, are damaged and not served`]),
    ...(records === 0 ? [] : [`${records} damaged messages were skipped since the start`]),
    ...(numbers['trivet_replication_standing'] === 1
      ? ['this slave cannot follow its master without an operator: its log says why']
      : []),
    ...(numbers['trivet_replication_connected'] === 0
      ? ['this slave does not follow its master at present']
      : []),
    ...(behindSeconds < BEHIND_SECONDS_TOLD
      ? []
      : [`a copy is ${size(behindBytes)} and ${span(behindSeconds * 1000)} behind`]),
    ...(numbers['trivet_election_is_reached'] === 0
      ? [
          'etcd does not answer this copy, or refuses it, as its log says: it takes part in no election',
        ]
      : []),
    ...(numbers['trivet_election_is_vacant'] === 1 ? ['no copy is the master at present'] : []),
    ...(numbers['trivet_views_rebuilding'] === 1
      ? ['the views are being built again from the log: some reads have to wait']
      : []),
  ]
}

async function rows(client: Client, signal: AbortSignal): Promise<readonly BrokerRow[]> {
  const entries = await client.admin.brokers({ signal })
  const found = entries.flatMap(({ clusterName, brokerName, addresses }) =>
    [...addresses].map(([id, address]) => ({ clusterName, brokerName, id, address })),
  )
  return Promise.all(
    found.map(async ({ clusterName, brokerName, id, address }) => {
      const role = id === 0 ? 'master' : 'slave'
      const row = { cluster: clusterName, broker: brokerName, address, role } as const
      try {
        const state = await client.admin.brokerState(address, { signal })
        return { ...row, state, error: undefined }
      } catch (error) {
        return { ...row, state: undefined, error: BrokerError.from(error) }
      }
    }),
  )
}

function stateOfSlave(numbers: BrokerState['numbers']): string {
  if (numbers['trivet_replication_standing'] === 1) return 'standing'
  return numbers['trivet_replication_connected'] === 1 ? 'following' : 'read-only'
}

function cells({ state, error }: BrokerRow): readonly unknown[] {
  if (state === undefined) {
    const isRefused = error !== undefined && REFUSALS.has(error.code)
    return [isRefused ? 'refused' : 'unreachable', '-', '-', '-', '-']
  }
  const { writable, uptimeMs, messagesIn, messagesOut, logStart, logEnd } = state
  const bytes = logEnd === undefined ? undefined : logEnd - (logStart ?? 0)
  return [
    writable ? 'running' : stateOfSlave(state.numbers),
    uptimeMs === undefined ? undefined : span(uptimeMs),
    messagesIn,
    messagesOut,
    bytes === undefined ? undefined : size(bytes),
  ]
}
