// A broker's state, read from the table of its runtime values. Values that the table lacks are
// undefined: Apache RocketMQ and we do not have all values in common.
import { REQUEST } from '../../remoting/codes.ts'
import type { RemotingConnection, RequestOptions } from '../../remoting/connection.ts'
import { decodeTable } from '../../remoting/requests/key-values.ts'
import { accepted } from '../calls/calls.ts'

export interface BrokerState {
  readonly version: string | undefined
  /** False: it takes no messages, for instance because its disk is full. */
  readonly writable: boolean
  readonly uptimeMs: number | undefined
  readonly messagesIn: number | undefined
  readonly messagesOut: number | undefined
  readonly logStart: number | undefined
  readonly logEnd: number | undefined
  /**
   * What the broker counts, by the names of docs/reference/numbers.md with their labels, as
   * Prometheus writes them: 'trivet_connections{protocol_type="mqtt",listener="0.0.0.0:1883"}'.
   */
  readonly numbers: Readonly<Record<string, number>>
  /** Everything else, in the broker's own words. */
  readonly values: Readonly<Record<string, string>>
}

/** RocketMQ's own values have no such names. */
const IS_NUMBER = /^(trivet|rocketmq|process)_/

export async function readBrokerState(
  connection: RemotingConnection,
  options: RequestOptions,
): Promise<BrokerState> {
  const asked = `the state of the broker at ${connection.address}`
  const response = await connection.request(REQUEST.getBrokerRuntimeInfo, options)
  const table = decodeTable(accepted(response, asked).body)
  const number = (key: string): number | undefined => {
    const value = Number(table.get(key) ?? Number.NaN)
    return Number.isFinite(value) ? value : undefined
  }
  return {
    version: table.get('brokerVersionDesc'),
    writable: table.get('brokerActive') !== 'false',
    uptimeMs: uptimeMs(table.get('runtime')),
    messagesIn: number('msgPutTotalTodayNow'),
    messagesOut: number('msgGetTotalTodayNow'),
    logStart: number('commitLogMinOffset'),
    logEnd: number('commitLogMaxOffset'),
    numbers: Object.fromEntries(
      [...table].filter(([key]) => IS_NUMBER.test(key)).map(([key, text]) => [key, Number(text)]),
    ),
    values: Object.fromEntries([...table].filter(([key]) => !IS_NUMBER.test(key))),
  }
}

/** '[ 1 days, 2 hours, 3 minutes, 4 seconds ]', by the broker's own clock. */
function uptimeMs(text: string | undefined): number | undefined {
  const parts = /(\d+) days, (\d+) hours, (\d+) minutes, (\d+) seconds/.exec(text ?? '')
  if (parts === null) return undefined
  const [days, hours, minutes, seconds] = parts.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
  ]
  return (((days * 24 + hours) * 60 + minutes) * 60 + seconds) * 1000
}
