// trivet top: what a cluster does at the moment, from what its brokers count.
import type { BrokerState, Client } from '../../client/index.ts'
import { sleep, systemClock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { Away } from '../away.ts'
import { command } from '../command.ts'
import { connectionFlags, withClient } from '../connection.ts'
import type { Terminal } from '../terminal.ts'
import { durationMs } from '../words.ts'
import { sumOf } from './numbers.ts'

const INTERVAL_MS = 2_000
const INTERVAL_MS_MIN = 200
const GROUPS_DEFAULT = 20
/** Each is a question to every broker. */
const GROUPS_ASKED_MAX = 200
const ASKED_AT_ONCE = 8
const PROTOCOLS = ['remoting', 'mqtt', 'amqp'] as const
const HOME_AND_CLEAR = Buffer.from('\u001b[H\u001b[2J')

/** One broker at one time. */
interface BrokerSample {
  readonly broker: string
  readonly atMs: number
  readonly state: BrokerState
}

interface Sample {
  readonly brokers: readonly BrokerSample[]
  /** Lag by group. */
  readonly groups: ReadonlyMap<string, number>
}

export interface ProtocolRates {
  readonly broker: string
  readonly protocol: (typeof PROTOCOLS)[number]
  readonly connections: number
  readonly inPerSecond: number
  readonly outPerSecond: number
  readonly refusedPerSecond: number
}

export interface GroupLag {
  readonly group: string
  readonly lag: number
  /** How much it grew. */
  readonly perSecond: number
}

interface Picture {
  readonly seconds: number
  readonly protocols: readonly ProtocolRates[]
  readonly groups: readonly GroupLag[]
}

export const top = command({
  summary: 'Show the rates of a cluster and the lags of its groups, again and again',
  details:
    'Rates are of the time between two looks. Groups come by their lag; where it grows, consumers are too slow or away.\n' +
    'Ends at Ctrl-C with exit code 0. With --json each look is one object on a line.',
  flags: {
    ...connectionFlags,
    interval: { type: 'text', value: 'time', describe: 'Between two looks (default: 2s).' },
    group: {
      type: 'text',
      short: 'g',
      many: true,
      describe: `Only this group (default: the ${GROUPS_DEFAULT} of the first ${GROUPS_ASKED_MAX} that are furthest behind).`,
    },
    once: { type: 'boolean', describe: 'Look for one interval, and end.' },
    json: { type: 'boolean', describe: 'Print one JSON object per look.' },
  },
  examples: ['trivet top', 'trivet top --once --json --interval 10s'],
  async run({ flags, env, signal, terminal }) {
    const given = flags.interval
    const intervalMs = given === undefined ? INTERVAL_MS : durationMs('--interval', given)
    if (intervalMs < INTERVAL_MS_MIN) {
      throw new BrokerError('ARGUMENT_INVALID', `--interval is '${given}'; 200ms is the least`)
    }
    try {
      await withClient({ flags, env, signal }, async (client) => {
        const look = (): Promise<Sample> => sample(client, flags.group, terminal, signal)
        let before = await look()
        do {
          await sleep(systemClock, intervalMs, signal)
          const now = await look()
          const picture = pictureOf(before, now)
          if (flags.json) terminal.json(picture)
          else await show(picture, terminal, !flags.once)
          before = now
        } while (!flags.once)
      })
    } catch (error) {
      // Ctrl-C is how it ends.
      if (!signal.aborted) throw error
    }
  },
})

/** @throws BrokerError of the first broker when none tells its state */
async function sample(
  client: Client,
  wanted: readonly string[],
  terminal: Terminal,
  signal: AbortSignal,
): Promise<Sample> {
  const away = new Away()
  const brokers = await brokersOf(client, away, signal)
  if (brokers.length === 0) {
    throw away.error ?? new BrokerError('NO_ROUTE', 'the name server knows no broker')
  }
  const options = { signal, missing: away.missing }
  const listed = wanted.length > 0 ? [] : await client.admin.groups.list(options)
  const names = wanted.length > 0 ? wanted : listed.map(({ name }) => name)
  const groups = new Map<string, number>()
  const left = names.slice(0, GROUPS_ASKED_MAX).values()
  const ask = async (): Promise<void> => {
    for (const name of left) {
      try {
        groups.set(name, await client.admin.groups.lag(name, options))
      } catch (error) {
        const isGone = BrokerError.from(error).code === 'GROUP_NOT_FOUND'
        if (!isGone || wanted.includes(name)) throw error
      }
    }
  }
  await Promise.all(Array.from({ length: ASKED_AT_ONCE }, ask))
  away.tell(terminal)
  return { brokers, groups }
}

async function brokersOf(
  client: Client,
  away: Away,
  signal: AbortSignal,
): Promise<readonly BrokerSample[]> {
  const masters = (await client.admin.brokers({ signal })).flatMap(({ brokerName, addresses }) => {
    const address = addresses.get(0)
    return address === undefined ? [] : [{ name: brokerName, address }]
  })
  const asked = masters.map(async (master) => {
    try {
      const state = await client.admin.brokerState(master.address, { signal })
      return [{ broker: master.name, atMs: systemClock.monotonic(), state }]
    } catch (error) {
      signal.throwIfAborted()
      away.missing(master, BrokerError.from(error))
      return []
    }
  })
  return (await Promise.all(asked)).flat()
}

function pictureOf(before: Sample, now: Sample): Picture {
  const pairs = now.brokers.flatMap((later) => {
    const earlier = before.brokers.find(({ broker }) => broker === later.broker)
    return earlier === undefined ? [] : [[earlier, later] as const]
  })
  const [first] = pairs
  const seconds = first === undefined ? 0 : (first[1].atMs - first[0].atMs) / 1000
  const groups = [...now.groups].map(([group, lag]) => {
    const grown = lag - (before.groups.get(group) ?? lag)
    return { group, lag, perSecond: rate(grown, seconds) }
  })
  return {
    seconds: Number(seconds.toFixed(3)),
    protocols: pairs.flatMap(([earlier, later]) => protocolRates(earlier, later)),
    groups: groups.toSorted((a, b) => b.lag - a.lag).slice(0, GROUPS_DEFAULT),
  }
}

function protocolRates(before: BrokerSample, now: BrokerSample): readonly ProtocolRates[] {
  const seconds = (now.atMs - before.atMs) / 1000
  return PROTOCOLS.flatMap((protocol) => {
    const connections = sumOf(now.state, 'trivet_connections', protocol)
    if (connections === undefined) return []
    const perSecond = (name: string): number => {
      const [from, to] = [before, now].map(({ state }) => sumOf(state, name, protocol) ?? 0)
      return rate(to! - from!, seconds)
    }
    return [
      {
        ...{ broker: now.broker, protocol, connections },
        inPerSecond: perSecond('trivet_messages_in_total'),
        outPerSecond: perSecond('trivet_messages_out_total'),
        refusedPerSecond: perSecond('trivet_messages_refused_total'),
      },
    ]
  })
}

const rate = (count: number, seconds: number): number =>
  seconds > 0 ? Number((count / seconds).toFixed(1)) : 0

async function show(
  { seconds, protocols, groups }: Picture,
  terminal: Terminal,
  isLive: boolean,
): Promise<void> {
  if (isLive && terminal.isInteractive) await terminal.write(HOME_AND_CLEAR)
  terminal.print(`the last ${seconds.toFixed(1)} s`)
  terminal.table(
    ['BROKER', 'PROTOCOL', 'CONNECTIONS', 'IN/S', 'OUT/S', 'REFUSED/S'],
    protocols.map((one) => [
      ...[one.broker, one.protocol, one.connections],
      ...[one.inPerSecond, one.outPerSecond, one.refusedPerSecond],
    ]),
  )
  if (groups.length === 0) return
  terminal.print('')
  terminal.table(
    ['GROUP', 'LAG', 'LAG/S'],
    groups.map(({ group, lag, perSecond }) => [group, lag, perSecond]),
  )
}
