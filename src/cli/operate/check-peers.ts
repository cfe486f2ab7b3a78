// The brokers of the cluster: whether they answer, and whether their clocks agree with this one.
import type { BrokerState, Client } from '../../client/index.ts'
import type { Clock } from '../../clock.ts'
import { BrokerError } from '../../errors.ts'
import { type Finding, failed, ok, warning } from './finding.ts'

/** A broker says its time in whole seconds. */
const RESOLUTION_MS = 1_000
const APART_MS_MAX = 2_000

export async function checkPeers(
  client: Client,
  clock: Clock,
  signal: AbortSignal,
): Promise<readonly Finding[]> {
  const brokers = await client.admin.brokers({ signal })
  const asked = brokers.flatMap(({ brokerName, addresses }) =>
    [...addresses.values()].map(async (address): Promise<readonly Finding[]> => {
      const broker = `the broker '${brokerName}' at ${address}`
      try {
        const before = clock.now()
        const state = await client.admin.brokerState(address, { signal })
        return clockOf(broker, state, before, clock.now())
      } catch (error) {
        signal.throwIfAborted()
        const { code, message } = BrokerError.from(error)
        const isRefused = code === 'UNAUTHENTICATED' || code === 'PERMISSION_DENIED'
        if (!isRefused) return [failed('peer', message, 'see that it runs, and what it advertises')]
        const text = `${broker} does not tell its time to this user`
        return [warning('clock', text, 'name an admin with --access-key and TRIVET_SECRET_KEY')]
      }
    }),
  )
  return (await Promise.all(asked)).flat()
}

/** What it says lies between the two readings of the clock here. */
export function clockOf(
  broker: string,
  { values, uptimeMs }: Pick<BrokerState, 'values' | 'uptimeMs'>,
  beforeMs: number,
  afterMs: number,
): readonly Finding[] {
  const startedMs = Number(values['bootTimestamp'])
  if (uptimeMs === undefined || !Number.isFinite(startedMs)) return []
  const thereMs = startedMs + uptimeMs
  const ahead = thereMs - afterMs
  const behind = beforeMs - (thereMs + RESOLUTION_MS)
  const apartMs = Math.max(ahead, behind, 0)
  if (apartMs <= APART_MS_MAX) return [ok('clock', `${broker} has the time of this machine`)]
  const seconds = Math.round(apartMs / 1000)
  const text = `the clock of ${broker} is ${seconds} s ${ahead > 0 ? 'ahead' : 'behind'}`
  return [warning('clock', text, 'let NTP (chrony, systemd-timesyncd) set both')]
}
