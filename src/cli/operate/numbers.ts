// What brokers count, as commands add it up.
import type { BrokerState } from '../../client/index.ts'

/** Over every other label; undefined: the broker does not count it. */
export function sumOf(
  state: Pick<BrokerState, 'numbers'> | undefined,
  name: string,
  protocol: string,
): number | undefined {
  const begin = `${name}{protocol_type="${protocol}"`
  const found = Object.entries(state?.numbers ?? {}).filter(([key]) => key.startsWith(begin))
  return found.length === 0 ? undefined : found.reduce((all, [, value]) => all + value, 0)
}
